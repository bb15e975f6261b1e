//===- LinearTest.cpp - projections against plain loops -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "codegen/Common/WeightPacking.h"

#include <gtest/gtest.h>

#include <cmath>

namespace llmopt::cpu {
Result<LoweredKernel> lowerLinear(exec::KernelOp kernel, FamilyContext &context);
}

using namespace llmopt;
using namespace llmopt::test;

namespace {

/// A weight [N, K] as the model has it (rounded to its type) and packed.
struct Weight {
  std::vector<float> values;
  Buffer packed;
};

Weight makeWeight(std::mt19937 &random, DType type, int64_t n, int64_t k, bool outputsFirst = true) {
  Weight weight;
  std::vector<uint16_t> halves;
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (int64_t i = 0; i < n * k; ++i) {
    float value = uniform(random);
    if (type != DType::F32) {
      halves.push_back(type == DType::BF16 ? floatToBf16(value) : floatToF16(value));
      value = type == DType::BF16 ? bf16ToFloat(halves.back()) : f16ToFloat(halves.back());
    }
    weight.values.push_back(value);
  }
  auto source = type == DType::F32 ? std::as_bytes(std::span(weight.values)) : std::as_bytes(std::span(halves));
  std::string layout(panelLayout(type));
  weight.packed = Buffer(size_t(packedBytes(layout, type, n, k)));
  std::span<std::byte> target(weight.packed.data<std::byte>(), weight.packed.bytes());
  EXPECT_TRUE(packWeight(layout, type, n, k, outputsFirst, source, target).ok());
  return weight;
}

double dot(const float *x, const Weight &weight, int64_t n, int64_t k, int64_t columns = 0) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i)
    sum += double(x[i]) * weight.values[size_t(columns ? i * columns + n : n * k + i)];
  return sum;
}

std::string type(std::string dims, std::string element = "f32") { return "tensor<" + dims + "x" + element + ">"; }
std::string str(int64_t value) { return std::to_string(value); }

std::string plainText(int64_t n, int64_t k, const std::string &element) {
  std::string x = type("?x" + str(k)), w = type(str(n) + "x" + str(k), element), y = type("?x" + str(n));
  return "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + str(k) + "]}, %w: " + w + ") -> " + y + " {\n" +
         "  %r = exec.kernel \"linear\"(%x, %w) : (" + x + ", " + w + ") -> " + y + " {\n  ^bb0(%a: " + x + ", %b: " + w + "):\n" +
         "    %y = llm.linear %a, %b : " + x + ", " + w + " -> " + y + "\n    exec.yield %y : " + y + "\n  }\n" +
         "  return %r : " + y + "\n}\n";
}

void checkPlain(const TargetPair &pair, DType dtype, int64_t n, int64_t k, const std::vector<int64_t> &heights) {
  SCOPED_TRACE(pair.name() + " " + std::string(dtypeName(dtype)) + " N=" + str(n) + " K=" + str(k));
  std::mt19937 random(7);
  auto kernel = CompiledKernel::make(plainText(n, k, std::string(dtypeName(dtype))), cpu::lowerLinear, pair.target, pair.strategy);
  Weight weight = makeWeight(random, dtype, n, k);
  std::vector<float> firstRow;
  for (int64_t m : heights)
    for (unsigned parts : {1u, 3u}) {
      std::mt19937 inputs(11); // the same first row for every height
      Buffer x = randomFloats(inputs, size_t(m * k)), y = filled(size_t(m * n), NAN);
      kernel->run({x.data<void>(), weight.packed.data<void>(), y.data<void>()}, {{"m", m}}, parts);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j)
          ASSERT_NEAR(y.data()[i * n + j], dot(x.data() + i * k, weight, j, k), 1e-6 * std::sqrt(double(k)) * 4 + 1e-6)
              << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts << " at " << i << "," << j;
      std::vector<float> row(y.data(), y.data() + n);
      if (firstRow.empty())
        firstRow = row;
      // Results do not depend on the other rows of the batch, bit for bit.
      ASSERT_EQ(0, std::memcmp(row.data(), firstRow.data(), row.size() * 4)) << "M=" << m << " parts=" << parts;
    }
}

const std::vector<int64_t> kHeights = {1, 2, 3, 4, 5, 6, 7, 9, 13, 24, 25, 31, 49, 131};

} // namespace

TEST(Linear, F32AwkwardSizes) {
  for (const TargetPair &pair : runnableTargets())
    for (auto [n, k] : {std::pair<int64_t, int64_t>(1, 1), {15, 3}, {17, 172}, {172, 513}, {64, 64}})
      checkPlain(pair, DType::F32, n, k, kHeights);
}

TEST(Linear, F32DepthInBlocks) {
  for (const TargetPair &pair : runnableTargets())
    for (auto [n, k] : {std::pair<int64_t, int64_t>(100, 1024), {49, 1537}})
      checkPlain(pair, DType::F32, n, k, {1, 4, 5, 27, 300});
}

TEST(Linear, HalfWeights) {
  for (const TargetPair &pair : runnableTargets())
    for (DType dtype : {DType::BF16, DType::F16})
      for (auto [n, k] : {std::pair<int64_t, int64_t>(1, 1), {17, 3}, {65, 172}, {33, 513}, {48, 1537}})
        checkPlain(pair, dtype, n, k, {1, 2, 3, 4, 5, 7, 25, 50});
}
