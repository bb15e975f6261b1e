//===- AttentionDenseTest.cpp - attention over batches against plain loops -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>

namespace llmopt::cpu {
Result<LoweredKernel> lowerAttention(exec::KernelOp kernel, FamilyContext &context);
}

using namespace llmopt;
using namespace llmopt::test;

namespace {

std::string str(int64_t value) { return std::to_string(value); }

enum class Mask { None, BoolFull, BoolKeys, FloatQueries, FloatLowest };

struct Dense {
  int64_t heads = 4, kvHeads = 2, keySize = 64, valueSize = 64;
  bool causal = false;
  int64_t window = 0;
  double softcap = 0;
  Mask mask = Mask::None;
  bool bf16 = false; ///< products
  double scale() const { return 1 / std::sqrt(double(keySize)); }
  std::string text() const;
  std::string maskDims() const {
    switch (mask) {
    case Mask::None:
      return "";
    case Mask::BoolFull:
      return "?x" + str(heads) + "x?x?xi1";
    case Mask::BoolKeys:
      return "?x1x1x?xi1";
    default:
      return "1x1x?x?xf32";
    }
  }
};

std::string Dense::text() const {
  auto type = [](int64_t heads, int64_t size) { return "tensor<?x" + str(heads) + "x?x" + str(size) + "xf32>"; };
  auto names = [](int64_t heads, const char *rows, int64_t size) {
    return " {llm.dims = [\"b\", " + str(heads) + ", \"" + rows + "\", " + str(size) + "]}";
  };
  std::string q = type(heads, keySize), k = type(kvHeads, keySize), v = type(kvHeads, valueSize), y = type(heads, valueSize);
  std::string m = "tensor<" + maskDims() + ">", maskNames;
  if (mask != Mask::None)
    maskNames = mask == Mask::BoolFull ? "[\"b\", " + str(heads) + ", \"s\", \"t\"]" : mask == Mask::BoolKeys ? "[\"b\", 1, 1, \"t\"]" : "[1, 1, \"s\", \"t\"]";
  bool with = mask != Mask::None;
  return "func.func @f(%q: " + q + names(heads, "s", keySize) + ", %k: " + k + names(kvHeads, "t", keySize) + ", %v: " + v +
         names(kvHeads, "t", valueSize) + (with ? ", %m: " + m + " {llm.dims = " + maskNames + "}" : "") + ") -> " + y +
         " {\n %y = exec.kernel \"attention\"(%q, %k, %v" + (with ? ", %m" : "") + ") : (" + q + ", " + k + ", " + v + (with ? ", " + m : "") +
         ") -> " + y + " {\n ^bb0(%a: " + q + ", %b: " + k + ", %c: " + v + (with ? ", %d: " + m : "") + "):\n %0 = llm.attention %a, %b, %c" +
         (with ? " mask %d : " + m : "") + " {scale = " + std::to_string(scale()) + " : f32, window = " + str(window) + ", softcap = " +
         std::to_string(softcap) + " : f32" + (causal ? ", causal" : "") + "} : " + q + ", " + k + ", " + v + " -> " + y +
         "\n exec.yield %0 : " + y + "\n }\n return %y : " + y + "\n}";
}

struct Sizes {
  int64_t batch, queries, keys;
};

/// What the mask does to a score: minus infinity hides the key.
double maskAt(const Dense &d, const Buffer &mask, const Sizes &sizes, int64_t b, int64_t h, int64_t i, int64_t j) {
  switch (d.mask) {
  case Mask::None:
    return 0;
  case Mask::BoolFull:
    return mask.data<uint8_t>()[((b * d.heads + h) * sizes.queries + i) * sizes.keys + j] ? 0 : -INFINITY;
  case Mask::BoolKeys:
    return mask.data<uint8_t>()[b * sizes.keys + j] ? 0 : -INFINITY;
  default:
    return mask.data()[i * sizes.keys + j];
  }
}

Buffer makeMask(const Dense &d, const Sizes &sizes, std::mt19937 &random) {
  bool full = d.mask == Mask::BoolFull;
  if (full || d.mask == Mask::BoolKeys) {
    Buffer mask(size_t(full ? sizes.batch * d.heads * sizes.queries * sizes.keys : sizes.batch * sizes.keys));
    for (size_t i = 0; i < mask.bytes(); ++i)
      mask.data<uint8_t>()[i] = random() % 3 != 0;
    if (full) // a row that sees nothing
      std::fill_n(mask.data<uint8_t>(), sizes.keys, uint8_t(0));
    return mask;
  }
  Buffer mask = randomFloats(random, size_t(sizes.queries * sizes.keys));
  for (int64_t i = 0; i < sizes.queries * sizes.keys; ++i)
    if (random() % 3 == 0)
      mask.data()[i] = d.mask == Mask::FloatLowest ? -FLT_MAX : -INFINITY;
  if (d.mask == Mask::FloatLowest) // a row of nothing but the lowest value is even
    std::fill_n(mask.data(), sizes.keys, -FLT_MAX);
  return mask;
}

void checkOne(const Dense &d, const CompiledKernel &kernel, const Sizes &sizes) {
  std::mt19937 random(9);
  auto [batch, queries, keys] = sizes;
  Buffer q = randomFloats(random, size_t(batch * d.heads * queries * d.keySize)), k = randomFloats(random, size_t(batch * d.kvHeads * keys * d.keySize));
  Buffer v = randomFloats(random, size_t(batch * d.kvHeads * keys * d.valueSize)), y = filled(size_t(batch * d.heads * queries * d.valueSize), NAN);
  Buffer mask = makeMask(d, sizes, random);
  std::vector<void *> buffers = {q.data(), k.data(), v.data()};
  if (d.mask != Mask::None)
    buffers.push_back(mask.data());
  buffers.push_back(y.data());
  kernel.run(buffers, {{"b", batch}, {"s", queries}, {"t", keys}}, 3);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < d.heads; ++h)
      for (int64_t i = 0; i < queries; ++i) {
        int64_t kvRow = (b * d.kvHeads + h / (d.heads / d.kvHeads)) * keys, row = (b * d.heads + h) * queries + i, past = keys - queries;
        std::vector<double> weights;
        double sum = 0, most = -INFINITY;
        for (int64_t j = 0; j < keys; ++j) {
          double score = 0;
          for (int64_t x = 0; x < d.keySize; ++x)
            score += double(q.data()[row * d.keySize + x]) * k.data()[(kvRow + j) * d.keySize + x];
          score *= d.scale();
          score = d.softcap > 0 ? d.softcap * std::tanh(score / d.softcap) : score;
          double added = maskAt(d, mask, sizes, b, h, i, j);
          // In f32 the lowest value swallows the score.
          score = added == -FLT_MAX ? added : score + added;
          bool hidden = (d.causal && j > i + past) || (d.window > 0 && j <= i + past - d.window);
          weights.push_back(hidden ? -INFINITY : score);
          most = std::max(most, weights.back());
        }
        for (double &weight : weights)
          sum += weight = weight == -INFINITY ? 0 : std::exp(weight - most);
        for (int64_t e = 0; e < d.valueSize; ++e) {
          double expected = 0;
          for (int64_t j = 0; j < keys; ++j)
            expected += weights[size_t(j)] * v.data()[(kvRow + j) * d.valueSize + e];
          ASSERT_NEAR(y.data()[row * d.valueSize + e], sum > 0 ? expected / sum : 0, d.bf16 ? 8e-3 : 2e-5)
              << "B=" << batch << " S=" << queries << " T=" << keys << " at " << b << "," << h << "," << i << "," << e;
        }
      }
}

void check(const Dense &dense) {
  for (const TargetPair &pair : dense.bf16 ? runnableTargetsAndTiles() : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(dense.text(), cpu::lowerAttention, pair.target, pair.strategy, {.bf16Products = dense.bf16});
    for (Sizes sizes : {Sizes{1, 1, 1}, Sizes{2, 5, 37}, Sizes{1, 70, 70}, Sizes{1, 33, 331}})
      checkOne(dense, *kernel, sizes);
  }
}

} // namespace

TEST(DenseAttention, Plain) { check({}); }
TEST(DenseAttention, Causal) { check({.causal = true}); }
TEST(DenseAttention, CausalWindow) { check({.causal = true, .window = 9}); }
TEST(DenseAttention, Softcap) { check({.softcap = 1.5}); }
TEST(DenseAttention, OddSizes) { check({.heads = 3, .kvHeads = 3, .keySize = 9, .valueSize = 21, .causal = true}); }
TEST(DenseAttention, BoolMask) { check({.mask = Mask::BoolFull}); }
TEST(DenseAttention, BoolMaskOfKeys) { check({.causal = true, .mask = Mask::BoolKeys}); }
TEST(DenseAttention, FloatMask) { check({.mask = Mask::FloatQueries}); }
TEST(DenseAttention, LowestFloatMask) { check({.mask = Mask::FloatLowest}); }
TEST(DenseAttention, Bf16) {
  check({.bf16 = true});
  check({.heads = 3, .kvHeads = 3, .keySize = 9, .valueSize = 21, .causal = true, .window = 9, .bf16 = true});
  check({.keySize = 32, .valueSize = 32, .mask = Mask::FloatQueries, .bf16 = true});
  check({.causal = true, .softcap = 1.5, .mask = Mask::BoolKeys, .bf16 = true});
  check({.heads = 2, .kvHeads = 2, .keySize = 64, .valueSize = 80, .causal = true, .bf16 = true});
  check({.heads = 2, .kvHeads = 2, .keySize = 80, .valueSize = 80, .bf16 = true});
}

TEST(DenseAttention, DotProductsOfBf16) {
  Target target = *findTarget("x86-64-v4-bf16");
  auto kernel = CompiledKernel::make(Dense{.keySize = 32, .valueSize = 32}.text(), cpu::lowerAttention, target, target, {.bf16Products = true});
  InnerLoops loops = innerLoops(kernel->assembly(), "vdpbf16ps");
  EXPECT_GE(loops.number, 4);
  EXPECT_EQ(loops.spilling, "");
}

namespace {

/// Queries, keys and values as columns of one product [b, s, 3 * heads * size], the result as [b, s, heads, size].
std::string packedText(int64_t heads, int64_t size) {
  std::string x = "tensor<?x?x" + str(3 * heads * size) + "xf32>", slice = "tensor<?x?x" + str(heads * size) + "xf32>";
  std::string split = "tensor<?x?x" + str(heads) + "x" + str(size) + "xf32>", head = "tensor<?x" + str(heads) + "x?x" + str(size) + "xf32>";
  std::string text = "func.func @f(%x: " + x + " {llm.dims = [\"b\", \"s\", " + str(3 * heads * size) + "]}) -> " + split +
                     " {\n %y = exec.kernel \"attention\"(%x) : (" + x + ") -> " + split + " {\n ^bb0(%a: " + x +
                     "):\n %shape = llm.constant dense<[0, 0, " + str(heads) + ", " + str(size) + "]> : tensor<4xi64>\n";
  for (int64_t i = 0; i < 3; ++i) {
    std::string n = str(i), bound = " = llm.constant dense<" + str(i * heads * size) + "> : tensor<1xi64>\n";
    std::string end = " = llm.constant dense<" + str((i + 1) * heads * size) + "> : tensor<1xi64>\n";
    text += " %from" + n + bound + " %to" + n + end + " %s" + n + " = llm.slice %a, %from" + n + ", %to" + n + " axes = [2] steps = [1] : " + x +
            ", tensor<1xi64>, tensor<1xi64> -> " + slice + "\n %r" + n + " = llm.reshape %s" + n + ", %shape : " + slice + ", tensor<4xi64> -> " +
            split + "\n %t" + n + " = llm.transpose %r" + n + " permutation = [0, 2, 1, 3] : " + split + " -> " + head + "\n";
  }
  return text + " %0 = llm.attention %t0, %t1, %t2 {scale = 0.25 : f32, causal} : " + head + ", " + head + ", " + head + " -> " + head +
         "\n %1 = llm.transpose %0 permutation = [0, 2, 1, 3] : " + head + " -> " + split + "\n exec.yield %1 : " + split +
         "\n }\n return %y : " + split + "\n}";
}

void checkPacked(const CompiledKernel &packed, const CompiledKernel &plain, int64_t batch, int64_t tokens, int64_t heads, int64_t size) {
  std::mt19937 random(4);
  size_t count = size_t(batch * tokens * heads * size);
  Buffer x = randomFloats(random, 3 * count), y = filled(count, NAN), expected = filled(count, NAN);
  std::vector<Buffer> parts;
  for (int64_t i = 0; i < 3; ++i) {
    Buffer part = filled(count, NAN);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = 0; t < tokens; ++t)
          std::copy_n(x.data() + (((b * tokens + t) * 3 + i) * heads + h) * size, size, part.data() + ((b * heads + h) * tokens + t) * size);
    parts.push_back(std::move(part));
  }
  packed.run({x.data(), y.data()}, {{"b", batch}, {"s", tokens}}, 3);
  plain.run({parts[0].data(), parts[1].data(), parts[2].data(), expected.data()}, {{"b", batch}, {"s", tokens}, {"t", tokens}}, 3);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t d = 0; d < size; ++d)
          ASSERT_EQ(y.data()[((b * tokens + t) * heads + h) * size + d], expected.data()[((b * heads + h) * tokens + t) * size + d])
              << "B=" << batch << " S=" << tokens << " at " << b << "," << t << "," << h << "," << d;
}

} // namespace

// The same bits, read and written with strides.
TEST(DenseAttention, PackedProjections) {
  const int64_t size = 21;
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    Dense dense{.heads = 3, .kvHeads = 3, .keySize = size, .valueSize = size, .causal = true};
    std::string plain = dense.text(), scale = "scale = " + std::to_string(dense.scale());
    plain.replace(plain.find(scale), scale.size(), "scale = 0.25");
    auto packed = CompiledKernel::make(packedText(3, size), cpu::lowerAttention, pair.target, pair.strategy);
    auto contiguous = CompiledKernel::make(plain, cpu::lowerAttention, pair.target, pair.strategy);
    for (int64_t tokens : {1, 37, 70})
      checkPacked(*packed, *contiguous, 2, tokens, 3, size);
  }
}
