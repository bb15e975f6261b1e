//===- LinearIntegerTest.cpp - projections of bytes against plain loops ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "codegen/Common/WeightPacking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace llmopt::cpu {
Result<LoweredKernel> lowerLinear(exec::KernelOp kernel, FamilyContext &context);
}

using namespace llmopt;
using namespace llmopt::test;

namespace {

std::string str(int64_t value) { return std::to_string(value); }
std::string type(const std::string &dims, const std::string &element) { return "tensor<" + dims + "x" + element + ">"; }

/// A weight [K, N], and packed.
struct Weight {
  std::vector<int8_t> values;
  Buffer packed;
};

Weight pack(std::vector<int8_t> values, int64_t n, int64_t k) {
  Weight weight{std::move(values), Buffer(size_t(packedMatrixBytes("panel16x4", DType::I8, n, k)))};
  std::span<std::byte> target(weight.packed.data<std::byte>(), weight.packed.bytes());
  EXPECT_TRUE(packWeight("panel16x4", DType::I8, n, k, /*outputsFirst=*/false, std::as_bytes(std::span(weight.values)), target).ok());
  return weight;
}

Weight randomWeight(std::mt19937 &random, int64_t n, int64_t k) {
  std::vector<int8_t> values(static_cast<size_t>(n * k));
  for (int8_t &value : values)
    value = int8_t(random());
  return pack(std::move(values), n, k);
}

Buffer randomBytes(std::mt19937 &random, size_t count) {
  Buffer bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes.data<uint8_t>()[i] = uint8_t(random());
  return bytes;
}

/// As i32 wraps.
int32_t dot(const uint8_t *x, const Weight &weight, int64_t column, int64_t n, int64_t k) {
  uint32_t sum = 0;
  for (int64_t i = 0; i < k; ++i)
    sum += uint32_t(int32_t(x[i]) * weight.values[size_t(i * n + column)]);
  return int32_t(sum);
}

std::string plainText(int64_t n, int64_t k) {
  std::string x = type("?x" + str(k), "ui8"), w = type(str(k) + "x" + str(n), "i8"), y = type("?x" + str(n), "i32");
  return "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + str(k) + "]}, %w: " + w + ") -> " + y + " {\n" +
         "  %r = exec.kernel \"linear\"(%x, %w) : (" + x + ", " + w + ") -> " + y + " {\n  ^bb0(%a: " + x + ", %b: " + w + "):\n" +
         "    %y = llm.matmul %a, %b : " + x + ", " + w + " -> " + y + "\n    exec.yield %y : " + y + "\n  }\n" +
         "  return %r : " + y + "\n}\n";
}

void checkSums(const TargetPair &pair, int64_t n, int64_t k, const Weight &weight, const std::vector<int64_t> &heights,
               const std::function<Buffer(size_t)> &input) {
  SCOPED_TRACE(pair.name() + " N=" + str(n) + " K=" + str(k));
  auto kernel = CompiledKernel::make(plainText(n, k), cpu::lowerLinear, pair.target, pair.strategy);
  for (int64_t m : heights)
    for (unsigned parts : {1u, 3u}) {
      Buffer x = input(size_t(m * k)), y(size_t(m * n * 4));
      std::memset(y.data<void>(), 0x55, y.bytes());
      kernel->run({x.data<void>(), weight.packed.data<void>(), y.data<void>()}, {{"m", m}}, parts);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j)
          ASSERT_EQ(y.data<int32_t>()[i * n + j], dot(x.data<uint8_t>() + i * k, weight, j, n, k))
              << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts << " at " << i << "," << j;
    }
}

/// With tile registers where inputs fill them and the target multiplies words of four bytes at all.
std::vector<TargetPair> targetsFor(int64_t k) {
  if (k % 64 != 0)
    return runnableTargets();
  std::vector<TargetPair> pairs = runnableTargetsAndTiles();
  std::erase_if(pairs, [](const TargetPair &pair) { return pair.strategy.amx && !pair.target.int8Dot; });
  return pairs;
}

} // namespace

TEST(LinearInteger, SumsAreExact) {
  std::mt19937 random(7);
  for (auto [n, k] : {std::pair<int64_t, int64_t>(1, 1), {17, 3}, {65, 172}, {33, 2049}, {1, 64}, {70, 192}, {33, 2112}}) {
    Weight weight = randomWeight(random, n, k);
    for (const TargetPair &pair : targetsFor(k))
      checkSums(pair, n, k, weight, {1, 2, 3, 4, 7, 24, 25, 61}, [&](size_t count) { return randomBytes(random, count); });
  }
}

// The largest and smallest numbers everywhere: 255 * 127 + 255 * 127 does not fit into 16 bits, where vpmaddubsw would saturate.
TEST(LinearInteger, NothingSaturates) {
  constexpr int64_t kN = 20;
  for (int64_t k : {1031, 1088}) {
    std::vector<int8_t> extremes(static_cast<size_t>(kN * k));
    for (size_t i = 0; i < extremes.size(); ++i)
      extremes[i] = i % kN % 3 == 0 ? 127 : i % kN % 3 == 1 ? -128 : i / kN % 2 ? 127 : -128;
    Weight weight = pack(extremes, kN, k);
    for (const TargetPair &pair : targetsFor(k))
      checkSums(pair, kN, k, weight, {1, 4, 6, 30}, [&](size_t count) {
        Buffer bytes(count);
        std::memset(bytes.data<void>(), 255, count);
        return bytes;
      });
  }
}

// Rows are quantized in front, and two products of them are scaled, shifted and activated behind.
TEST(LinearInteger, QuantizedInFrontAndScaledBehind) {
  constexpr int64_t kN = 37, kK = 50;
  const std::string text = R"(
func.func @f(%x: tensor<?x?x50xf32> {llm.dims = ["b", "s", 50]}, %step: tensor<f32>, %zero: tensor<ui8>, %w: tensor<50x37xi8>, %u: tensor<50x37xi8>,
             %sums: tensor<37xi32>, %scale: tensor<37xf32>, %row: tensor<?x?x1xf32> {llm.dims = ["b", "s", 1]}) -> (tensor<?x?x37xf32>, tensor<?x?x37xi32>) {
  %r:2 = exec.kernel "linear"(%x, %step, %zero, %w, %u, %sums, %scale, %row) : (tensor<?x?x50xf32>, tensor<f32>, tensor<ui8>, tensor<50x37xi8>, tensor<50x37xi8>, tensor<37xi32>, tensor<37xf32>, tensor<?x?x1xf32>) -> (tensor<?x?x37xf32>, tensor<?x?x37xi32>) {
  ^bb0(%a: tensor<?x?x50xf32>, %b: tensor<f32>, %c: tensor<ui8>, %d: tensor<50x37xi8>, %e: tensor<50x37xi8>, %g: tensor<37xi32>, %h: tensor<37xf32>, %i: tensor<?x?x1xf32>):
    %low = llm.constant dense<0.0> : tensor<f32>
    %high = llm.constant dense<255.0> : tensor<f32>
    %0 = llm.div %a, %b : tensor<?x?x50xf32>, tensor<f32> -> tensor<?x?x50xf32>
    %1 = llm.round %0 : tensor<?x?x50xf32>
    %2 = llm.cast %c : tensor<ui8> -> tensor<f32>
    %3 = llm.add %1, %2 : tensor<?x?x50xf32>, tensor<f32> -> tensor<?x?x50xf32>
    %4 = llm.max %3, %low : tensor<?x?x50xf32>, tensor<f32> -> tensor<?x?x50xf32>
    %5 = llm.min %4, %high : tensor<?x?x50xf32>, tensor<f32> -> tensor<?x?x50xf32>
    %6 = llm.cast %5 : tensor<?x?x50xf32> -> tensor<?x?x50xui8>
    %7 = llm.matmul %6, %d : tensor<?x?x50xui8>, tensor<50x37xi8> -> tensor<?x?x37xi32>
    %8 = llm.sub %7, %g : tensor<?x?x37xi32>, tensor<37xi32> -> tensor<?x?x37xi32>
    %9 = llm.cast %8 : tensor<?x?x37xi32> -> tensor<?x?x37xf32>
    %10 = llm.mul %9, %h : tensor<?x?x37xf32>, tensor<37xf32> -> tensor<?x?x37xf32>
    %11 = llm.relu %10 : tensor<?x?x37xf32>
    %12 = llm.add %11, %i : tensor<?x?x37xf32>, tensor<?x?x1xf32> -> tensor<?x?x37xf32>
    %13 = llm.matmul %6, %e : tensor<?x?x50xui8>, tensor<50x37xi8> -> tensor<?x?x37xi32>
    exec.yield %12, %13 : tensor<?x?x37xf32>, tensor<?x?x37xi32>
  }
  return %r#0, %r#1 : tensor<?x?x37xf32>, tensor<?x?x37xi32>
})";
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy);
    std::mt19937 random(5);
    Weight first = randomWeight(random, kN, kK), second = randomWeight(random, kN, kK);
    float step = 2.1f / 255;
    uint8_t zero = 120;
    for (auto [batch, length] : {std::pair<int64_t, int64_t>(1, 1), {2, 1}, {1, 3}, {2, 2}, {3, 11}, {4, 40}}) {
      int64_t m = batch * length;
      Buffer x = randomFloats(random, size_t(m * kK)), scale = randomFloats(random, kN), row = randomFloats(random, size_t(m));
      Buffer sums(kN * 4), y = filled(size_t(m * kN), NAN), z = filled(size_t(m * kN), NAN);
      for (int64_t j = 0; j < kN; ++j)
        sums.data<int32_t>()[j] = int32_t(random() % 100000) - 50000;
      kernel->run({x.data(), &step, &zero, first.packed.data(), second.packed.data(), sums.data(), scale.data(), row.data(), y.data(), z.data()},
                  {{"b", batch}, {"s", length}}, 3);
      for (int64_t i = 0; i < m; ++i) {
        uint8_t codes[kK];
        for (int64_t k = 0; k < kK; ++k)
          codes[k] = uint8_t(std::clamp(std::nearbyint(x.data()[i * kK + k] / step) + zero, 0.0f, 255.0f));
        for (int64_t j = 0; j < kN; ++j) {
          float expected = std::max(0.0f, float(dot(codes, first, j, kN, kK) - sums.data<int32_t>()[j]) * scale.data()[j]) + row.data()[i];
          ASSERT_EQ(y.data()[i * kN + j], expected) << "at " << i << "," << j;
          ASSERT_EQ(z.data<int32_t>()[i * kN + j], dot(codes, second, j, kN, kK)) << "at " << i << "," << j;
        }
      }
    }
  }
}
