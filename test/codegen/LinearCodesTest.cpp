//===- LinearCodesTest.cpp - projections by codes against plain loops -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace llmopt::cpu {
Result<LoweredKernel> lowerLinear(exec::KernelOp kernel, FamilyContext &context);
}

using namespace llmopt;
using namespace llmopt::test;

namespace {

struct Case {
  QuantizedPanels panels;
  int zero;
  int64_t n, k;
};

// Blocks of all sizes and scales of all types; inputs that fill no block or several blocks of K, columns that fill no panel, rows for streams, tiles and more than one block of rows.
const Case kCases[] = {{{4, 32, DType::F32, false}, 8, 1, 64},     {{4, 32, DType::F32, true}, 0, 37, 203},   {{4, 16, DType::F16, true}, 0, 65, 72},
                       {{4, 128, DType::F16, false}, 8, 100, 520}, {{4, 64, DType::BF16, true}, 0, 33, 1000}, {{8, 32, DType::F32, false}, 128, 17, 39},
                       {{8, 32, DType::F16, false}, 128, 48, 1024}, {{8, 0, DType::F32, false}, 128, 70, 300}, {{8, 0, DType::F32, true}, 0, 19, 33},
                       {{8, 512, DType::F32, true}, 0, 35, 1537},  {{8, 16, DType::BF16, true}, 0, 33, 172},  {{4, 192, DType::F32, false}, 3, 16, 400},
                       {{4, 64, DType::F16, false}, 8, 34, 2600}, {{8, 32, DType::F16, true}, 0, 18, 4130}};

// Whole spans of whole steps, one and several blocks of K, the last one shorter; block by block or all inputs with one scale, zero points of their own or not.
const Case kTileCases[] = {{{4, 32, DType::F32, false}, 8, 1, 64},     {{4, 32, DType::F16, true}, 0, 37, 224},   {{4, 128, DType::F16, false}, 8, 100, 640}, {{8, 32, DType::F16, false}, 128, 48, 1024},
                           {{4, 64, DType::BF16, false}, 3, 33, 1088}, {{8, 0, DType::F32, false}, 128, 70, 768}, {{8, 32, DType::F16, true}, 0, 18, 4128},  {{4, 192, DType::F32, true}, 0, 16, 576},
                           {{8, 512, DType::F32, true}, 0, 35, 1536},  {{4, 32, DType::F32, true}, 0, 37, 203},   {{8, 16, DType::F32, false}, 128, 20, 64}};

std::string name(const Case &c) { return c.panels.layout() + " N=" + std::to_string(c.n) + " K=" + std::to_string(c.k); }

void checkCase(std::mt19937 &random, const Case &c, const TargetPair &pair, StrategyOptions options) {
  SCOPED_TRACE(pair.name() + " " + name(c) + (options.int8Products ? ", rows of 8 bits" : options.bf16Products ? ", rows of bf16" : options.terms ? ", rows of terms" : ""));
  PackedCodes codes(random, c.panels, c.zero, c.n, c.k);
  auto kernel = CompiledKernel::make(quantizedLinearText(c.panels, c.zero, c.n, c.k), cpu::lowerLinear, pair.target, pair.strategy, options);
  ASSERT_EQ(kernel->lowered().weightLayouts.at(1).name, codes.panels.layout());
  ASSERT_EQ(kernel->lowered().arithmetic == DType::BF16, (options.bf16Products || options.terms == 2) && codes.fillsTiles());
  std::vector<float> first;
  for (int64_t m : {1, 2, 3, 4, 5, 7, 17, 25, 33, 131})
    for (unsigned parts : {1u, 3u}) {
      std::mt19937 inputs(11);
      Buffer x = randomFloats(inputs, size_t(m * c.k)), y = filled(size_t(m * c.n), NAN);
      kernel->run({x.data(), codes.packed.data<void>(), y.data()}, {{"m", m}}, parts, nullptr, parts == 3);
      for (int64_t i = 0; i < m; ++i) {
        std::vector<double> row = codes.rowOf(pair.target, x.data() + i * c.k, options);
        for (int64_t j = 0; j < c.n; ++j) {
          auto [sum, size] = codes.dot(row.data(), j);
          ASSERT_NEAR(y.data()[i * c.n + j], sum, 5e-7 * size) << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts << " at " << i << "," << j;
        }
      }
      first.resize(size_t(c.n));
      if (m == 1 && parts == 1)
        std::copy_n(y.data(), c.n, first.begin());
      ASSERT_EQ(0, std::memcmp(first.data(), y.data(), size_t(c.n) * 4)) << "first row of M=" << m;
    }
}

} // namespace

TEST(LinearCodes, AsExactAsF32AndTheSameInAnyBatch) {
  std::mt19937 random(3);
  size_t turn = 0;
  for (const Case &c : kCases)
    for (const TargetPair &pair : runnableTargets())
      if (turn++ % 2 == 0) // their number is odd: each case has every other target, and the next case the others
        checkCase(random, c, pair, {});
}

TEST(LinearCodes, RowsOfEightBits) {
  std::mt19937 random(4);
  size_t turn = 0;
  for (const Case &c : kCases)
    for (const TargetPair &pair : runnableTargets())
      if (turn++ % 3 == 0)
        checkCase(random, c, pair, {.int8Products = true});
}

// What does not fill them is as exact as without.
TEST(LinearCodes, RowsOfBf16InTileRegisters) {
  std::mt19937 random(6);
  for (const Case &c : kTileCases)
    for (const TargetPair &pair : runnableTargetsAndTiles())
      if (pair.strategy.amx)
        checkCase(random, c, pair, {.bf16Products = true});
}

// Each input as the sum of two bf16 numbers. Three are not chosen: exact digits are.
TEST(LinearCodes, RowsOfTermsInTileRegisters) {
  std::mt19937 random(6);
  for (const Case &c : kTileCases)
    for (const TargetPair &pair : runnableTargetsAndTiles())
      if (pair.strategy.amx)
        checkCase(random, c, pair, {.terms = 2});
  for (const TargetPair &pair : runnableTargetsAndTiles())
    if (pair.strategy.amx)
      checkCase(random, kTileCases[1], pair, {.terms = 3});
}

// Spans are scaled by themselves: large inputs beside small ones, the largest and smallest numbers there are, and zeros.
TEST(LinearCodes, InputsOfAnySize) {
  constexpr int64_t kN = 20, kK = 320, kM = 6;
  std::mt19937 random(5);
  QuantizedPanels panels{4, 32, DType::F32, true};
  PackedCodes codes(random, panels, 0, kN, kK);
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(quantizedLinearText(panels, 0, kN, kK), cpu::lowerLinear, pair.target, pair.strategy);
    for (auto [all, odd] : {std::pair(1.0f, 1e4f), {1e-3f, 1e6f}, {0.0f, 0.0f}, {3e37f, 1e30f}, {1e-30f, 1e-20f}, {-0.0f, -1.0f}}) {
      Buffer x = randomFloats(random, kM * kK), y = filled(kM * kN, NAN);
      for (int64_t i = 0; i < kM * kK; ++i)
        x.data()[i] = i % 100 == 7 ? odd : x.data()[i] * all * 0.01f;
      kernel->run({x.data(), codes.packed.data<void>(), y.data()}, {{"m", kM}}, 2);
      for (int64_t i = 0; i < kM; ++i)
        for (int64_t j = 0; j < kN; ++j) {
          auto [sum, size] = codes.dot(x.data() + i * kK, j);
          double largest = 0, weights = 0; // an input's error is a part of the largest of its span
          for (int64_t k = 0; k < kK; ++k) {
            largest = std::max(largest, std::abs(double(x.data()[i * kK + k])));
            weights += std::abs(codes.weights[size_t(j * kK + k)]);
          }
          ASSERT_NEAR(y.data()[i * kN + j], sum, 5e-7 * size + std::ldexp(largest * weights, -22)) << "inputs of " << all << " and " << odd << " at " << i << "," << j;
        }
    }
  }
}

// What is no number goes through; other rows do not see it.
TEST(LinearCodes, NotNumbers) {
  constexpr int64_t kN = 20, kK = 96, kM = 6;
  std::mt19937 random(5);
  QuantizedPanels panels{8, 32, DType::F32, false};
  PackedCodes codes(random, panels, 128, kN, kK);
  for (const TargetPair &pair : runnableTargetsAndTiles()) {
    StrategyOptions rounded{.bf16Products = pair.strategy.amx, .int8Products = !pair.strategy.amx};
    for (StrategyOptions options : {rounded, {.terms = 2}}) {
      SCOPED_TRACE(pair.name() + (options.terms ? ", terms" : ", rounded rows"));
      auto kernel = CompiledKernel::make(quantizedLinearText(panels, 128, kN, kK), cpu::lowerLinear, pair.target, pair.strategy, options);
      for (float value : {NAN, INFINITY, -INFINITY, std::bit_cast<float>(0x7f800001u), std::bit_cast<float>(0x7fffffffu), std::bit_cast<float>(0xffffffffu)}) {
        Buffer x = randomFloats(random, kM * kK), y = filled(kM * kN, 7);
        x.data()[2 * kK + 40] = value;
        kernel->run({x.data(), codes.packed.data<void>(), y.data()}, {{"m", kM}}, 1);
        for (int64_t i = 0; i < kM; ++i)
          for (int64_t j = 0; j < kN; ++j)
            ASSERT_EQ(!std::isfinite(y.data()[i * kN + j]), i == 2) << value << " at " << i << "," << j;
      }
    }
  }
}
