//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "InterpreterHarness.h"

using namespace llmopt;

namespace {

constexpr int64_t kHeads = 4, kGroups = 2, kWidth = 6, kValue = 5;

struct InterpreterAttention : InterpreterFixture {
  /// One layer of ragged attention over q, k, v, with more attributes and operands at will.
  static std::string step(std::string attributes, std::string operands = "", std::string arguments = "", std::string group = "") {
    return "func.func @step(%q: tensor<?x4x6xf32>, %k: tensor<?x2x6xf32>, %v: tensor<?x2x5xf32>" + arguments + ") -> tensor<?x4x5xf32> {\n" +
           "llm.cache_append %k, %v {state = 0 : i64" + group + "} : tensor<?x2x6xf32>, tensor<?x2x5xf32>\n" +
           "%0 = llm.paged_attention %q " + operands + " {state = 0 : i64, kv_heads = 2 : i64, scale = 0.5 : f32" + attributes + group +
           "} : tensor<?x4x6xf32> -> tensor<?x4x5xf32>\nreturn %0 : tensor<?x4x5xf32>\n}\n";
  }

  static Tensor rows(const Tensor &tensor, int64_t first, int64_t count) {
    std::vector<int64_t> shape = tensor.shape();
    int64_t row = tensor.elements() / shape[0];
    shape[0] = count;
    Tensor part(tensor.dtype(), shape);
    std::copy_n(tensor.as<float>() + first * row, count * row, part.as<float>());
    return part;
  }

  Tensor run(Interpreter &interpreter, std::vector<Tensor> inputs, std::vector<InterpreterSequence> sequences, llvm::StringRef name = "step") {
    auto outputs = interpreter.run(name, std::move(inputs), std::move(sequences));
    EXPECT_TRUE(outputs.ok()) << (outputs ? "" : outputs.error().str());
    return outputs && !outputs->empty() ? std::move(outputs->front()) : Tensor();
  }
};

/// Softmax attention written once more, for one sequence in the open.
Tensor reference(const Tensor &q, const Tensor &k, const Tensor &v, bool causal, int64_t window, double cap,
                 std::function<double(int64_t head, int64_t distance)> bias = {}, const std::vector<double> &sinks = {}) {
  int64_t tokens = q.shape()[0];
  Tensor out(DType::F32, {tokens, kHeads, kValue});
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < kHeads; ++h) {
      int64_t g = h / (kHeads / kGroups);
      std::vector<double> weights;
      double sum = sinks.empty() ? 0 : std::exp(sinks[size_t(h)]);
      for (int64_t j = 0; j < k.shape()[0]; ++j) {
        double score = 0;
        for (int64_t d = 0; d < kWidth; ++d)
          score += 0.5 * q.at((t * kHeads + h) * kWidth + d) * k.at((j * kGroups + g) * kWidth + d);
        score = cap > 0 ? cap * std::tanh(score / cap) : score;
        bool visible = (!causal || j <= t) && (window == 0 || j > t - window);
        weights.push_back(visible ? std::exp(score + (bias ? bias(h, j - t) : 0)) : 0);
        sum += weights.back();
      }
      for (int64_t e = 0; e < kValue; ++e) {
        double value = 0;
        for (size_t j = 0; j < weights.size(); ++j)
          value += weights[j] / sum * v.at((int64_t(j) * kGroups + g) * kValue + e);
        out.as<float>()[(t * kHeads + h) * kValue + e] = float(value);
      }
    }
  return out;
}

TEST_F(InterpreterAttention, ChunksEqualTheWhole) {
  load(step(", causal, window = 4 : i64, softcap = 2.0 : f32"));
  Tensor q = randomFloats({9, kHeads, kWidth}, 1), k = randomFloats({9, kGroups, kWidth}, 2), v = randomFloats({9, kGroups, kValue}, 3);
  Tensor expected = reference(q, k, v, true, 4, 2);
  Interpreter interpreter(*module, weights);
  EXPECT_LT(largestDifference(run(interpreter, {q, k, v}, {{7, 9}}), expected), 1e-5);
  interpreter.reset();
  int64_t first = 0;
  for (int64_t count : {4, 1, 1, 0, 3}) {
    Tensor out = run(interpreter, {rows(q, first, count), rows(k, first, count), rows(v, first, count)}, {{7, count}});
    EXPECT_LT(largestDifference(out, rows(expected, first, count)), 1e-5) << first;
    first += count;
  }
}

TEST_F(InterpreterAttention, SequencesOfAStepDoNotSeeEachOther) {
  load(step(", causal"));
  Tensor q = randomFloats({5, kHeads, kWidth}, 4), k = randomFloats({5, kGroups, kWidth}, 5), v = randomFloats({5, kGroups, kValue}, 6);
  Interpreter interpreter(*module, weights);
  Tensor out = run(interpreter, {q, k, v}, {{1, 3}, {2, 2}});
  EXPECT_LT(largestDifference(rows(out, 0, 3), reference(rows(q, 0, 3), rows(k, 0, 3), rows(v, 0, 3), true, 0, 0)), 1e-5);
  EXPECT_LT(largestDifference(rows(out, 3, 2), reference(rows(q, 3, 2), rows(k, 3, 2), rows(v, 3, 2), true, 0, 0)), 1e-5);
}

TEST_F(InterpreterAttention, BiasesAndSinks) {
  load(step(", causal", "slopes %s : tensor<4xf32> bias %b : tensor<4x3xf32> sinks %z : tensor<4xf32>",
            ", %s: tensor<4xf32>, %b: tensor<4x3xf32>, %z: tensor<4xf32>"));
  Tensor q = randomFloats({4, kHeads, kWidth}, 7), k = randomFloats({4, kGroups, kWidth}, 8), v = randomFloats({4, kGroups, kValue}, 9);
  Tensor slopes = randomFloats({4}, 10), table = randomFloats({4, 3}, 11), sinks = randomFloats({4}, 12);
  auto bias = [&](int64_t head, int64_t distance) {
    return slopes.at(head) * double(distance) + table.at(head * 3 + std::clamp<int64_t>(distance, -1, 1) + 1);
  };
  Interpreter interpreter(*module, weights);
  Tensor out = run(interpreter, {q, k, v, slopes, table, sinks}, {{0, 4}});
  EXPECT_LT(largestDifference(out, reference(q, k, v, true, 0, 0, bias, elements(sinks))), 1e-5);
}

/// The encoder fills its states, and a decoder step attends to all of them.
TEST_F(InterpreterAttention, EncoderStatesAreSeenByTheDecoder) {
  std::string encode = step("", "", "", ", group = #llm<group encoder>");
  encode.replace(encode.find("@step"), 5, "@encode");
  load(encode + R"(func.func @step(%q: tensor<?x4x6xf32>) -> tensor<?x4x5xf32> {
    %0 = llm.paged_attention %q {state = 0 : i64, kv_heads = 2 : i64, scale = 0.5 : f32, group = #llm<group encoder>}
      : tensor<?x4x6xf32> -> tensor<?x4x5xf32>
    return %0 : tensor<?x4x5xf32>
  })");
  Tensor q = randomFloats({6, kHeads, kWidth}, 13), k = randomFloats({6, kGroups, kWidth}, 14), v = randomFloats({6, kGroups, kValue}, 15);
  Interpreter interpreter(*module, weights);
  Tensor encoded = run(interpreter, {q, k, v}, {{3, 6}}, "encode");
  EXPECT_LT(largestDifference(encoded, reference(q, k, v, false, 0, 0)), 1e-5);
  Tensor query = randomFloats({1, kHeads, kWidth}, 16);
  for (int i = 0; i < 2; ++i)
    EXPECT_LT(largestDifference(run(interpreter, {query}, {{3, 1}}), reference(query, k, v, false, 0, 0)), 1e-5);
  // A sequence without an encoder sees nothing.
  EXPECT_EQ(largestDifference(run(interpreter, {query}, {{4, 1}}), Tensor(DType::F32, {1, kHeads, kValue})), 0);
}

TEST_F(InterpreterAttention, PaddedAttentionAgreesWithRagged) {
  load(R"(func.func @f(%q: tensor<1x4x?x6xf32>, %k: tensor<1x2x?x6xf32>, %v: tensor<1x2x?x5xf32>, %m: tensor<?x?xi1>) -> tensor<1x4x?x5xf32> {
    %0 = llm.attention %q, %k, %v mask %m : tensor<?x?xi1> {scale = 0.5 : f32, causal, window = 3 : i64}
      : tensor<1x4x?x6xf32>, tensor<1x2x?x6xf32>, tensor<1x2x?x5xf32> -> tensor<1x4x?x5xf32>
    return %0 : tensor<1x4x?x5xf32>
  })");
  // One query head per key-value head and token order: with a single token the layouts coincide.
  Tensor q = randomFloats({1, 4, 1, 6}, 17), k = randomFloats({1, 2, 1, 6}, 18), v = randomFloats({1, 2, 1, 5}, 19);
  Interpreter interpreter(*module, weights);
  Tensor seen = run(interpreter, {q, k, v, integers<uint8_t>(DType::Bool, {1, 1}, {1})}, {}, "f");
  for (int64_t h = 0; h < 4; ++h)
    for (int64_t e = 0; e < 5; ++e)
      EXPECT_FLOAT_EQ(float(seen.at(h * 5 + e)), float(v.at(h / 2 * 5 + e)));
  Tensor unseen = run(interpreter, {q, k, v, integers<uint8_t>(DType::Bool, {1, 1}, {0})}, {}, "f");
  EXPECT_EQ(elements(unseen), std::vector<double>(20, 0.0));
}

TEST_F(InterpreterAttention, RopeRotatesPairs) {
  auto rotated = [&](std::string attributes) {
    return values("func.func @f() -> tensor<1x1x5xf32> {\n%x = llm.constant dense<[[[1.0, 2.0, 3.0, 4.0, 5.0]]]> : tensor<1x1x5xf32>\n"
                  "%p = llm.constant dense<[3]> : tensor<1xi32>\n%f = llm.constant dense<[1.0, 0.5]> : tensor<2xf32>\n%0 = llm.rope %x, %p, %f " +
                  attributes + " : tensor<1x1x5xf32>, tensor<1xi32>, tensor<2xf32> -> tensor<1x1x5xf32>\nreturn %0 : tensor<1x1x5xf32>\n}");
  };
  std::vector<double> half = rotated(""), pairs = rotated("{interleaved, scale = 2.0 : f32}");
  double c = std::cos(3.0), s = std::sin(3.0), c2 = std::cos(1.5), s2 = std::sin(1.5);
  std::vector<double> wantHalf{c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2, 5};
  std::vector<double> wantPairs{2 * (c - 2 * s), 2 * (2 * c + s), 2 * (3 * c2 - 4 * s2), 2 * (4 * c2 + 3 * s2), 5};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(half[i], wantHalf[i], 1e-5);
    EXPECT_NEAR(pairs[i], wantPairs[i], 1e-5);
  }
}

TEST_F(InterpreterAttention, AStepThatDoesNotFitIsAnError) {
  load(step(", causal"));
  Tensor q = randomFloats({2, kHeads, kWidth}, 1), k = randomFloats({2, kGroups, kWidth}, 2), v = randomFloats({2, kGroups, kValue}, 3);
  Interpreter interpreter(*module, weights);
  for (std::vector<InterpreterSequence> sequences : {std::vector<InterpreterSequence>{}, {{0, 1}}, {{0, 3}, {1, -1}}}) {
    auto outputs = interpreter.run("step", {q, k, v}, sequences);
    ASSERT_FALSE(outputs.ok());
    EXPECT_EQ(outputs.error().code, "E0708");
  }
}

} // namespace
