//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each composite operation gives what its decomposition gives, at sizes of 1, odd ones and one more than a vector, with
// static and with dynamic dimensions, in every float type.
//
//===----------------------------------------------------------------------===//
#include "InterpreterHarness.h"

#include "llmopt/dialects/LLM/Decompose.h"

#include "mlir/IR/Verifier.h"

using namespace llmopt;

namespace {

struct Decompose : InterpreterFixture {
  /// Runs @f as it stands and taken apart; the inputs are cast to the element types of the arguments.
  void check(const std::string &text, std::vector<Tensor> inputs, double tolerance) {
    SCOPED_TRACE(text);
    load(text);
    ASSERT_TRUE(module);
    Interpreter whole(*module, weights);
    auto expected = whole.run("f", inputs);
    ASSERT_TRUE(expected.ok()) << expected.error().str();
    mlir::OwningOpRef<mlir::ModuleOp> apart = module->clone();
    ASSERT_TRUE(mlir::succeeded(llm::decomposeAll(*apart)));
    ASSERT_TRUE(mlir::succeeded(mlir::verify(*apart)));
    apart->walk([](llm::Decomposable op) { ADD_FAILURE() << "still composite: " << op->getName().getStringRef().str(); });
    Interpreter parts(*apart, weights);
    auto got = parts.run("f", inputs);
    ASSERT_TRUE(got.ok()) << got.error().str();
    ASSERT_EQ(expected->size(), got->size());
    for (size_t i = 0; i < got->size(); ++i)
      EXPECT_LE(largestDifference((*expected)[i], (*got)[i]), tolerance);
  }

  /// "tensor<2x?xf32>" with every dimension in `open` replaced by ?.
  static std::string type(std::vector<int64_t> dims, std::string element, bool dynamic) {
    std::string text = "tensor<";
    for (int64_t dim : dims)
      text += (dynamic ? std::string("?") : std::to_string(dim)) + "x";
    return text + element + ">";
  }
};

double toleranceOf(const std::string &element) { return element == "f32" ? 2e-5 : element == "f16" ? 4e-3 : 4e-2; }

/// Arguments are f32 and cast inside, so that one harness serves all types.
std::string castTo(const std::string &name, const std::string &from, const std::string &to) {
  return "%" + name + "_c = llm.cast %" + name + " : " + from + " -> " + to + "\n";
}

TEST_F(Decompose, Normalizations) {
  for (std::string element : {"f32", "f16", "bf16"})
    for (bool dynamic : {false, true})
      for (int64_t rows : {1, 3})
        for (int64_t width : {1, 7, 17}) {
          std::string f32 = type({rows, width}, "f32", dynamic), own = type({rows, width}, element, dynamic);
          std::string vector = type({width}, "f32", dynamic);
          std::string head = "func.func @f(%x: " + f32 + ", %s: " + vector + ", %b: " + vector + ") -> " + own + " {\n" + castTo("x", f32, own);
          std::string tail = "\nreturn %0 : " + own + "\n}";
          std::vector<Tensor> inputs{randomFloats({rows, width}, 1), randomFloats({width}, 2), randomFloats({width}, 3)};
          double tolerance = toleranceOf(element);
          check(head + "%0 = llm.layer_norm %x_c scale %s : " + vector + " bias %b : " + vector + " {epsilon = 1.0e-5 : f32} : " + own + " -> " + own + tail,
                inputs, tolerance);
          check(head + "%0 = llm.layer_norm %x_c {epsilon = 1.0e-5 : f32} : " + own + " -> " + own + tail, inputs, tolerance);
          check(head + "%0 = llm.rms_norm %x_c scale %s : " + vector + " {epsilon = 1.0e-6 : f32, offset = 1.0 : f32} : " + own + " -> " + own + tail,
                inputs, tolerance);
          check(head + "%0 = llm.rms_norm %x_c {epsilon = 1.0e-6 : f32} : " + own + " -> " + own + tail, inputs, tolerance);
          for (std::string axis : {"0", "1"})
            check(head + "%0 = llm.softmax %x_c {axis = " + axis + " : i64} : " + own + tail, inputs, tolerance);
        }
}

TEST_F(Decompose, LinearAndEmbedding) {
  for (std::string weightElement : {"f32", "bf16"})
    for (bool dynamic : {false, true})
      for (auto [m, k, n] : {std::array<int64_t, 3>{1, 1, 1}, {3, 7, 5}, {2, 17, 9}})
        for (bool transposed : {false, true}) {
          std::vector<int64_t> weightDims = transposed ? std::vector<int64_t>{k, n} : std::vector<int64_t>{n, k};
          std::string x = type({m, k}, "f32", dynamic), w = type(weightDims, "f32", dynamic), wc = type(weightDims, weightElement, dynamic);
          std::string b = type({n}, "f32", dynamic), y = type({m, n}, "f32", dynamic), flags = transposed ? " {transposed}" : "";
          std::string cast = weightElement == "f32" ? "%w_c = llm.neg %w : " + w + "\n" : castTo("w", w, wc);
          check("func.func @f(%x: " + x + ", %w: " + w + ", %b: " + b + ") -> " + y + " {\n" + cast + "%0 = llm.linear %x, %w_c, %b" + flags +
                    " : " + x + ", " + wc + ", " + b + " -> " + y + "\nreturn %0 : " + y + "\n}",
                {randomFloats({m, k}, 4), randomFloats(weightDims, 5), randomFloats({n}, 6)}, 2e-5);
        }
  check(R"(func.func @f(%x: tensor<3xf32>, %w: tensor<2x3xf32>) -> tensor<2xf32> {
    %0 = llm.linear %x, %w : tensor<3xf32>, tensor<2x3xf32> -> tensor<2xf32>
    return %0 : tensor<2xf32>
  })", {randomFloats({3}, 7), randomFloats({2, 3}, 8)}, 1e-6);
  check(R"(func.func @f(%ids: tensor<?x2xi32>, %t: tensor<5x3xf32>) -> tensor<?x2x3xf32> {
    %c = llm.cast %t : tensor<5x3xf32> -> tensor<5x3xf16>
    %0 = llm.embedding %ids, %c : tensor<?x2xi32>, tensor<5x3xf16> -> tensor<?x2x3xf32>
    return %0 : tensor<?x2x3xf32>
  })", {integers<int32_t>(DType::I32, {2, 2}, {0, 4, 99, -1}), randomFloats({5, 3}, 9)}, 0);
}

// The results in turn: the harness compares all of a function's.
TEST_F(Decompose, Experts) {
  for (std::string weightElement : {"f32", "bf16"})
    for (bool dynamic : {false, true})
      for (bool shared : {true, false})
        for (auto [tokens, choices, experts, k, n] : {std::array<int64_t, 5>{1, 1, 1, 1, 1}, {1, 3, 5, 7, 3}, {9, 2, 4, 17, 6}, {0, 2, 3, 4, 5}}) {
          std::vector<int64_t> inputDims = shared ? std::vector<int64_t>{tokens, k} : std::vector<int64_t>{tokens, choices, k};
          std::string x = type(inputDims, "f32", dynamic), w = type({experts, n, k}, "f32", false), wc = type({experts, n, k}, weightElement, false);
          std::string chosen = type({tokens, choices}, "i64", dynamic), order = type({tokens, choices}, "i32", dynamic);
          std::string offsets = "tensor<" + std::to_string(experts + 1) + "xi32>", y = type({tokens, choices, n}, "f32", dynamic);
          std::vector<int64_t> ids; // some experts without rows, and numbers that are none
          for (int64_t i = 0; i < tokens * choices; ++i)
            ids.push_back(i * 7 % (experts + 2) - 1);
          std::string cast = weightElement == "f32" ? "%w_c = llm.neg %w : " + w + "\n" : castTo("w", w, wc);
          check("func.func @f(%x: " + x + ", %w: " + w + ", %i: " + chosen + ") -> (" + order + ", " + offsets + ", " + y + ") {\n" + cast +
                    "%o, %e = llm.group_rows %i {experts = " + std::to_string(experts) + " : i64} : " + chosen + " -> " + order + ", " + offsets +
                    "\n%0 = llm.grouped_linear %x, %w_c, %o, %e : " + x + ", " + wc + ", " + order + ", " + offsets + " -> " + y + "\nreturn %o, %e, %0 : " +
                    order + ", " + offsets + ", " + y + "\n}",
                {randomFloats(inputDims, 4), randomFloats({experts, n, k}, 5), integers(DType::I64, {tokens, choices}, ids)}, 2e-5);
        }
}

TEST_F(Decompose, Rope) {
  for (std::string element : {"f32", "bf16"})
    for (bool dynamic : {false, true})
      for (bool interleaved : {false, true})
        for (auto [tokens, heads, width, pairs] : {std::array<int64_t, 4>{1, 1, 2, 1}, {3, 2, 7, 2}, {5, 3, 16, 8}}) {
          std::string f32 = type({tokens, heads, width}, "f32", dynamic), own = type({tokens, heads, width}, element, dynamic);
          std::string positions = type({tokens}, "i32", dynamic), frequencies = type({pairs}, "f32", dynamic);
          std::vector<int32_t> where;
          for (int64_t i = 0; i < tokens; ++i)
            where.push_back(int32_t(i * 1000 + 7));
          check("func.func @f(%x: " + f32 + ", %p: " + positions + ", %q: " + frequencies + ") -> " + own + " {\n" + castTo("x", f32, own) +
                    "%0 = llm.rope %x_c, %p, %q {scale = 1.25 : f32" + (interleaved ? ", interleaved" : "") + "} : " + own + ", " + positions + ", " +
                    frequencies + " -> " + own + "\nreturn %0 : " + own + "\n}",
                {randomFloats({tokens, heads, width}, 10), integers(DType::I32, {tokens}, where), randomFloats({pairs}, 11)},
                element == "f32" ? 1e-5 : 4e-2);
        }
}

TEST_F(Decompose, Attention) {
  struct Case {
    int64_t batch, heads, groups, rows, keys, width, value;
  };
  for (bool dynamic : {false, true})
    for (Case c : {Case{1, 1, 1, 1, 1, 1, 1}, {2, 4, 2, 3, 5, 7, 6}, {1, 3, 3, 17, 17, 8, 8}, {2, 6, 1, 2, 9, 3, 5}})
      for (std::string attributes : {"", ", causal", ", causal, window = 2 : i64, softcap = 3.0 : f32", ", window = 3 : i64"})
        for (std::string mask : {"", "f32", "i1"}) {
          std::string q = type({c.batch, c.heads, c.rows, c.width}, "f32", dynamic), k = type({c.batch, c.groups, c.keys, c.width}, "f32", dynamic);
          std::string v = type({c.batch, c.groups, c.keys, c.value}, "f32", dynamic), y = type({c.batch, c.heads, c.rows, c.value}, "f32", dynamic);
          std::string m = type({c.batch, 1, c.rows, c.keys}, mask, false);
          // A dynamic mask could broadcast anything, so its declared shape stays.
          std::string argument = mask.empty() ? "" : ", %m: " + m, operand = mask.empty() ? "" : " mask %m : " + m;
          std::vector<Tensor> inputs{randomFloats({c.batch, c.heads, c.rows, c.width}, 12), randomFloats({c.batch, c.groups, c.keys, c.width}, 13),
                                     randomFloats({c.batch, c.groups, c.keys, c.value}, 14)};
          if (mask == "f32")
            inputs.push_back(randomFloats({c.batch, 1, c.rows, c.keys}, 15));
          if (mask == "i1") {
            std::vector<uint8_t> bits;
            for (int64_t i = 0; i < c.batch * c.rows * c.keys; ++i)
              bits.push_back(i % 3 != 0 && i / c.keys != 1); // one row sees nothing
            inputs.push_back(integers(DType::Bool, {c.batch, 1, c.rows, c.keys}, bits));
          }
          check("func.func @f(%q: " + q + ", %k: " + k + ", %v: " + v + argument + ") -> " + y + " {\n%0 = llm.attention %q, %k, %v" + operand +
                    " {scale = 0.3 : f32" + attributes + "} : " + q + ", " + k + ", " + v + " -> " + y + "\nreturn %0 : " + y + "\n}",
                inputs, 2e-5);
        }
}

/// Rows of -inf, as additive masks have them for padding.
TEST_F(Decompose, AttentionOverNothingIsZero) {
  check(R"(func.func @f(%q: tensor<1x1x2x2xf32>, %k: tensor<1x1x2x2xf32>, %m: tensor<2x2xf32>) -> tensor<1x1x2x2xf32> {
    %0 = llm.attention %q, %k, %k mask %m : tensor<2x2xf32> {scale = 1.0 : f32} : tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32> -> tensor<1x1x2x2xf32>
    return %0 : tensor<1x1x2x2xf32>
  })", {randomFloats({1, 1, 2, 2}, 16), randomFloats({1, 1, 2, 2}, 17), floats({2, 2}, {0, 0, -INFINITY, -INFINITY})}, 1e-6);
}

} // namespace
