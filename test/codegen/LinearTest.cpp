//===- LinearTest.cpp - projections against plain loops -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "codegen/Common/WeightPacking.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <regex>

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
  weight.packed = Buffer(size_t(packedMatrixBytes(layout, type, n, k)));
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

// Rows rounded to bf16: the reference rounds them too, and all targets give the same bits, with dot products of bf16 or without. Tile registers add in another
// order, where 32 inputs fill them.
TEST(Linear, ProductsInBf16) {
  std::mt19937 random(7);
  for (auto [n, k] : {std::pair<int64_t, int64_t>(1, 1), {17, 3}, {65, 172}, {33, 513}, {48, 1537}, {1, 32}, {70, 96}, {100, 2048}}) {
    Weight weight = makeWeight(random, DType::BF16, n, k);
    std::map<int64_t, std::vector<float>> inVectors, inTiles; // results by number of rows
    for (const TargetPair &pair : runnableTargetsAndTiles()) {
      auto &known = pair.strategy.amx && k % 32 == 0 ? inTiles : inVectors;
      SCOPED_TRACE(pair.name() + " N=" + str(n) + " K=" + str(k));
      auto kernel = CompiledKernel::make(plainText(n, k, "bf16"), cpu::lowerLinear, pair.target, pair.strategy, {.bf16Products = true});
      for (int64_t m : {1, 2, 3, 4, 5, 7, 16, 17, 25, 50, 64, 131, 300}) {
        std::mt19937 inputs(11);
        Buffer x = randomFloats(inputs, size_t(m * k)), y = filled(size_t(m * n), NAN);
        kernel->run({x.data<void>(), weight.packed.data<void>(), y.data<void>()}, {{"m", m}}, 2);
        for (int64_t i = 0; i < m * k; ++i)
          x.data()[i] = bf16ToFloat(floatToBf16(x.data()[i]));
        std::vector<float> result(y.data(), y.data() + m * n);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j)
            ASSERT_NEAR(result[size_t(i * n + j)], dot(x.data() + i * k, weight, j, k), 1e-6 * std::sqrt(double(k)) * 4 + 1e-6)
                << kernel->variant({{"m", m}}) << " M=" << m << " at " << i << "," << j;
        auto [it, isNew] = known.try_emplace(m, result);
        ASSERT_EQ(0, std::memcmp(it->second.data(), result.data(), result.size() * 4)) << "M=" << m;
        ASSERT_EQ(0, std::memcmp(known.begin()->second.data(), result.data(), size_t(n) * 4)) << "first row of M=" << m;
      }
    }
  }
}

// Numbers as sums of bf16 ones: of three as near as in f32, of two within 2^-17 of the sum of magnitudes (weights of bf16 are one term). The same bits on all targets, and for a row in any
// number of them. Where 32 inputs do not fill tile registers nothing changes.
TEST(Linear, ProductsOfTerms) {
  std::mt19937 random(7);
  for (auto [n, k] : {std::pair<int64_t, int64_t>(33, 513), {1, 32}, {70, 96}, {49, 1056}})
    for (DType dtype : {DType::F32, DType::F16, DType::BF16}) {
      Weight weight = makeWeight(random, dtype, n, k), magnitudes;
      for (float value : weight.values)
        magnitudes.values.push_back(std::fabs(value));
      for (int terms : {2, 3}) {
        std::vector<float> known;
        for (const TargetPair &pair : runnableTargetsAndTiles()) {
          if (!pair.strategy.amx)
            continue;
          SCOPED_TRACE(pair.name() + " " + std::string(dtypeName(dtype)) + " N=" + str(n) + " K=" + str(k) + ", " + str(terms) + " terms");
          auto kernel = CompiledKernel::make(plainText(n, k, std::string(dtypeName(dtype))), cpu::lowerLinear, pair.target, pair.strategy, {.terms = terms});
          EXPECT_EQ(kernel->lowered().arithmetic, k % 32 == 0 ? DType::BF16 : DType::F32);
          for (int64_t m : {1, 2, 3, 17, 33, 131}) {
            std::mt19937 inputs(11);
            Buffer x = randomFloats(inputs, size_t(m * k)), y = filled(size_t(m * n), NAN);
            kernel->run({x.data<void>(), weight.packed.data<void>(), y.data<void>()}, {{"m", m}}, 2);
            std::vector<float> result(y.data(), y.data() + m * n), absolute(size_t(m * k));
            std::transform(x.data(), x.data() + m * k, absolute.begin(), [](float value) { return std::fabs(value); });
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < n; ++j) {
                double cut = terms == 2 ? 0x1p-17 * dot(absolute.data() + i * k, magnitudes, j, k) : 0;
                ASSERT_NEAR(result[size_t(i * n + j)], dot(x.data() + i * k, weight, j, k), 1e-6 * std::sqrt(double(k)) * 2 + 1e-6 + cut)
                    << kernel->variant({{"m", m}}) << " M=" << m << " at " << i << "," << j;
              }
            if (k % 32 != 0)
              continue;
            if (known.empty())
              known.assign(result.begin(), result.begin() + n);
            ASSERT_EQ(0, std::memcmp(known.data(), result.data(), size_t(n) * 4)) << "first row of M=" << m;
          }
        }
      }
    }
}

// A row with a number that is not finite is not finite anywhere, and no other row sees it.
TEST(Linear, TermsOfWhatIsNotFinite) {
  constexpr int64_t kN = 20, kK = 96, kM = 6;
  std::mt19937 random(5);
  for (auto [dtype, terms] : {std::pair(DType::F32, 3), {DType::F32, 2}, {DType::BF16, 3}, {DType::BF16, 2}}) {
    Weight weight = makeWeight(random, dtype, kN, kK);
    for (const TargetPair &pair : runnableTargetsAndTiles()) {
      if (!pair.strategy.amx)
        continue;
      SCOPED_TRACE(pair.name() + " " + std::string(dtypeName(dtype)) + ", " + str(terms) + " terms");
      auto kernel = CompiledKernel::make(plainText(kN, kK, std::string(dtypeName(dtype))), cpu::lowerLinear, pair.target, pair.strategy, {.terms = terms});
      for (float odd : {NAN, INFINITY, -INFINITY, std::bit_cast<float>(0x7f800001u), std::bit_cast<float>(0x7fffffffu), std::numeric_limits<float>::max()})
        for (int64_t m : {int64_t(1), kM}) {
          Buffer x = randomFloats(random, kM * kK), y = filled(kM * kN, 7);
          int64_t row = m / 2;
          x.data()[row * kK + 40] = odd;
          kernel->run({x.data<void>(), weight.packed.data<void>(), y.data<void>()}, {{"m", m}}, 1);
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < kN; ++j)
              ASSERT_EQ(!std::isfinite(y.data()[i * kN + j]), i == row && !std::isfinite(odd)) << odd << " M=" << m << " at " << i << "," << j;
        }
    }
  }
}

// Rows that another product left in bf16 are multiplied as they lie: the same bits as if they were rounded here.
TEST(Linear, RowsStoredInBf16) {
  std::mt19937 random(13);
  for (auto [n, k] : {std::pair<int64_t, int64_t>(17, 6), {65, 172}, {48, 1538}, {70, 96}, {33, 1024}}) {
    Weight weight = makeWeight(random, DType::BF16, n, k);
    std::string x = type("?x" + str(k), "bf16"), wide = type("?x" + str(k)), w = type(str(n) + "x" + str(k), "bf16"), y = type("?x" + str(n));
    std::string text = "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + str(k) + "]}, %w: " + w + ") -> " + y + " {\n  %r = exec.kernel \"linear\"(%x, %w) : (" +
                       x + ", " + w + ") -> " + y + " {\n  ^bb0(%a: " + x + ", %b: " + w + "):\n    %c = llm.cast %a : " + x + " -> " + wide +
                       "\n    %y = llm.linear %c, %b : " + wide + ", " + w + " -> " + y + "\n    exec.yield %y : " + y + "\n  }\n  return %r : " + y + "\n}\n";
    for (const TargetPair &pair : runnableTargetsAndTiles()) {
      SCOPED_TRACE(pair.name() + " N=" + str(n) + " K=" + str(k));
      auto rounds = CompiledKernel::make(plainText(n, k, "bf16"), cpu::lowerLinear, pair.target, pair.strategy, {.bf16Products = true});
      auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy, {.bf16Products = true});
      for (int64_t m : {1, 3, 4, 7, 16, 25, 64, 131}) {
        Buffer floats = randomFloats(random, size_t(m * k)), halves(size_t(m * k * 2)), want = filled(size_t(m * n), NAN), got = filled(size_t(m * n), NAN);
        for (int64_t i = 0; i < m * k; ++i)
          halves.data<uint16_t>()[i] = floatToBf16(floats.data()[i]);
        rounds->run({floats.data<void>(), weight.packed.data<void>(), want.data<void>()}, {{"m", m}}, 2);
        kernel->run({halves.data<void>(), weight.packed.data<void>(), got.data<void>()}, {{"m", m}}, 2);
        ASSERT_EQ(0, std::memcmp(want.data(), got.data(), size_t(m * n) * 4)) << "M=" << m;
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Epilogues
//===----------------------------------------------------------------------===//

namespace {

double silu(double x) { return x / (1 + std::exp(-x)); }

void checkNear(float value, double expected, int64_t i, int64_t j) {
  ASSERT_NEAR(value, expected, 1e-4 + 1e-5 * std::abs(expected)) << "at " << i << "," << j;
}

} // namespace

// y = silu(x W^T + b) * s + residual, with s one factor a column, and the product in a second, narrower result.
TEST(Linear, EpilogueOfOperands) {
  constexpr int64_t kN = 37, kK = 24;
  const std::string text = R"(
func.func @f(%x: tensor<?x?x24xf32> {llm.dims = ["b", "s", 24]}, %w: tensor<37x24xf32>, %bias: tensor<37xf32>, %scale: tensor<1x37xf32>,
             %res: tensor<?x?x37xf32> {llm.dims = ["b", "s", 37]}, %row: tensor<?x1x1xf32> {llm.dims = ["b", 1, 1]}) -> (tensor<?x?x37xf32>, tensor<?x?x37xbf16>) {
  %r:2 = exec.kernel "linear"(%x, %w, %bias, %scale, %res, %row) : (tensor<?x?x24xf32>, tensor<37x24xf32>, tensor<37xf32>, tensor<1x37xf32>, tensor<?x?x37xf32>, tensor<?x1x1xf32>) -> (tensor<?x?x37xf32>, tensor<?x?x37xbf16>) {
  ^bb0(%a: tensor<?x?x24xf32>, %b: tensor<37x24xf32>, %c: tensor<37xf32>, %d: tensor<1x37xf32>, %e: tensor<?x?x37xf32>, %g: tensor<?x1x1xf32>):
    %half = llm.constant dense<0.5> : tensor<f32>
    %0 = llm.linear %a, %b, %c : tensor<?x?x24xf32>, tensor<37x24xf32>, tensor<37xf32> -> tensor<?x?x37xf32>
    %1 = llm.silu %0 : tensor<?x?x37xf32>
    %2 = llm.mul %1, %d : tensor<?x?x37xf32>, tensor<1x37xf32> -> tensor<?x?x37xf32>
    %3 = llm.add %2, %e : tensor<?x?x37xf32>, tensor<?x?x37xf32> -> tensor<?x?x37xf32>
    %4 = llm.mul %3, %g : tensor<?x?x37xf32>, tensor<?x1x1xf32> -> tensor<?x?x37xf32>
    %5 = llm.mul %4, %half : tensor<?x?x37xf32>, tensor<f32> -> tensor<?x?x37xf32>
    %6 = llm.cast %0 : tensor<?x?x37xf32> -> tensor<?x?x37xbf16>
    exec.yield %5, %6 : tensor<?x?x37xf32>, tensor<?x?x37xbf16>
  }
  return %r#0, %r#1 : tensor<?x?x37xf32>, tensor<?x?x37xbf16>
})";
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy);
    std::mt19937 random(5);
    Weight weight = makeWeight(random, DType::F32, kN, kK);
    for (auto [batch, length] : {std::pair<int64_t, int64_t>(1, 1), {2, 1}, {3, 1}, {2, 2}, {3, 11}}) {
      int64_t m = batch * length;
      Buffer x = randomFloats(random, size_t(m * kK)), bias = randomFloats(random, kN), scale = randomFloats(random, kN);
      Buffer residual = randomFloats(random, size_t(m * kN)), row = randomFloats(random, size_t(batch));
      Buffer y = filled(size_t(m * kN), NAN), z(size_t(m * kN * 2));
      kernel->run({x.data(), weight.packed.data(), bias.data(), scale.data(), residual.data(), row.data(), y.data(), z.data()},
                  {{"b", batch}, {"s", length}}, 2);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < kN; ++j) {
          double product = dot(x.data() + i * kK, weight, j, kK) + bias.data()[j];
          double expected = (silu(product) * scale.data()[j] + residual.data()[i * kN + j]) * row.data()[i / length] * 0.5;
          checkNear(y.data()[i * kN + j], expected, i, j);
          ASSERT_NEAR(bf16ToFloat(z.data<uint16_t>()[i * kN + j]), product, 0.01 * std::abs(product) + 1e-4);
        }
    }
  }
}

std::string geluText(bool tanh, bool rounded) {
  std::string y = type("?x16", rounded ? "bf16" : "f32"), text = "func.func @f(%x: tensor<?x1xf32> {llm.dims = [\"m\", 1]}, %w: tensor<16x1xf32>) -> " + y + " {\n";
  text += "  %r = exec.kernel \"linear\"(%x, %w) : (tensor<?x1xf32>, tensor<16x1xf32>) -> " + y + " {\n  ^bb0(%a: tensor<?x1xf32>, %b: tensor<16x1xf32>):\n";
  text += "    %p = llm.linear %a, %b : tensor<?x1xf32>, tensor<16x1xf32> -> tensor<?x16xf32>\n    %" + std::string(rounded ? "g" : "y") + " = llm.gelu %p ";
  text += std::string(tanh ? "{tanh} " : "") + ": tensor<?x16xf32>\n" + (rounded ? "    %y = llm.cast %g : tensor<?x16xf32> -> tensor<?x16xbf16>\n" : "");
  return text + "    exec.yield %y : " + y + "\n  }\n  return %r : " + y + "\n}\n";
}

// Both forms of GELU, on a grid that comes to the ends of all pieces of a table, and beyond.
TEST(Linear, Gelu) {
  auto exact = [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  auto byTanh = [](double x) { return x / (1 + std::exp(-2 * 0.797884560802865356 * (x + 0.044715 * x * x * x))); };
  std::vector<float> grid = {0, -0.0f, 1e-30f, -1e-30f, 40, -40, 1e30f, -1e30f, INFINITY};
  for (int64_t i = -8000; i <= 8000; ++i)
    grid.push_back(float(i) * 1e-3f);
  Weight one;
  one.packed = Buffer(size_t(packedMatrixBytes(std::string(panelLayout(DType::F32)), DType::F32, 16, 1)));
  std::fill_n(one.packed.data(), 16, 1.0f);
  for (const TargetPair &pair : runnableTargets())
    for (bool tanh : {false, true}) {
      SCOPED_TRACE(pair.name() + (tanh ? " tanh" : ""));
      auto kernel = CompiledKernel::make(geluText(tanh, false), cpu::lowerLinear, pair.target, pair.strategy);
      int64_t m = int64_t(grid.size());
      Buffer x(size_t(m * 4)), y = filled(size_t(m * 16), NAN);
      std::copy(grid.begin(), grid.end(), x.data());
      kernel->run({x.data<void>(), one.packed.data<void>(), y.data<void>()}, {{"m", m}}, 1);
      for (int64_t i = 0; i < m; ++i) {
        double expected = grid[size_t(i)] == INFINITY ? INFINITY : tanh ? byTanh(grid[size_t(i)]) : exact(grid[size_t(i)]);
        if (std::isinf(expected))
          ASSERT_EQ(y.data()[i * 16], INFINITY);
        else
          ASSERT_NEAR(y.data()[i * 16], expected, 1e-7 + 5e-7 * std::abs(expected)) << grid[size_t(i)];
      }
      x.data()[0] = NAN;
      x.data()[1] = -INFINITY;
      kernel->run({x.data<void>(), one.packed.data<void>(), y.data<void>()}, {{"m", 2}}, 1);
      ASSERT_TRUE(std::isnan(y.data()[0]));
      if (!tanh)
        ASSERT_NEAR(y.data()[16], 0, 1e-8);

      // To bf16: what rounding costs, and little more.
      x.data()[0] = grid[0];
      x.data()[1] = grid[1];
      auto rounded = CompiledKernel::make(geluText(tanh, true), cpu::lowerLinear, pair.target, pair.strategy);
      rounded->run({x.data<void>(), one.packed.data<void>(), y.data<void>()}, {{"m", m}}, 1);
      for (int64_t i = 0; i < m; ++i) {
        float value = grid[size_t(i)], got = bf16ToFloat(y.data<uint16_t>()[i * 16]);
        double expected = value == INFINITY ? INFINITY : tanh ? byTanh(value) : exact(value);
        if (std::isinf(expected))
          ASSERT_EQ(got, INFINITY);
        else
          ASSERT_NEAR(got, expected, 1.5e-5 + std::abs(expected) / 256) << value;
      }
      x.data()[0] = NAN;
      rounded->run({x.data<void>(), one.packed.data<void>(), y.data<void>()}, {{"m", 1}}, 1);
      ASSERT_TRUE(std::isnan(bf16ToFloat(y.data<uint16_t>()[0])));
    }
}

std::string gatedText(int64_t n, int64_t k, const std::string &element) {
  std::string x = type("?x" + str(k)), w = type(str(n) + "x" + str(k), element), y = type("?x" + str(n));
  return "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + str(k) + "]}, %g: " + w + ", %u: " + w + ") -> " + y + " {\n %r = exec.kernel \"linear\"(%x, %g, %u) : (" + x + ", " + w + ", " +
         w + ") -> " + y + " {\n ^bb0(%a: " + x + ", %b: " + w + ", %c: " + w + "):\n %0 = llm.linear %a, %b : " + x + ", " + w + " -> " + y + "\n %1 = llm.linear %a, %c : " + x + ", " + w +
         " -> " + y + "\n %2 = llm.silu %0 : " + y + "\n %3 = llm.mul %2, %1 : " + y + ", " + y + " -> " + y + "\n exec.yield %3 : " + y + "\n }\n return %r : " + y + "\n}";
}

// silu(x G^T) * (x U^T): the gated feed-forward layer.
TEST(Linear, GatedPair) {
  for (const TargetPair &pair : runnableTargetsAndTiles())
    for (int64_t depth : {40, 1600}) {
      SCOPED_TRACE(pair.name() + " K=" + str(depth));
      constexpr int64_t kN = 85;
      auto kernel = CompiledKernel::make(gatedText(kN, depth, "f32"), cpu::lowerLinear, pair.target, pair.strategy, {.terms = 3});
      std::mt19937 random(5);
      Weight gate = makeWeight(random, DType::F32, kN, depth), up = makeWeight(random, DType::F32, kN, depth);
      for (int64_t m : {1, 2, 3, 4, 8, 40}) {
        Buffer in = randomFloats(random, size_t(m * depth)), out = filled(size_t(m * kN), NAN);
        for (int64_t i = 0; i < m * depth; ++i)
          in.data()[i] *= 0.1f;
        kernel->run({in.data(), gate.packed.data(), up.packed.data(), out.data()}, {{"m", m}}, 3);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < kN; ++j)
            checkNear(out.data()[i * kN + j],
                      silu(dot(in.data() + i * depth, gate, j, depth)) * dot(in.data() + i * depth, up, j, depth), i, j);
      }
    }
}

// The same of products in bf16. Tile registers leave what follows a row tile's products for the next one's time, across column tiles, blocks of K and the pair: the
// same bits for each number of rows (one, a tile and one more, whole blocks, blocks of K with unfinished sums) and of parts.
TEST(Linear, GatedPairInBf16) {
  std::mt19937 random(5);
  for (auto [n, k] : {std::pair<int64_t, int64_t>(7, 32), {85, 96}, {85, 1600}}) {
    Weight gate = makeWeight(random, DType::BF16, n, k), up = makeWeight(random, DType::BF16, n, k);
    for (const TargetPair &pair : runnableTargetsAndTiles()) {
      SCOPED_TRACE(pair.name() + " N=" + str(n) + " K=" + str(k));
      auto kernel = CompiledKernel::make(gatedText(n, k, "bf16"), cpu::lowerLinear, pair.target, pair.strategy, {.bf16Products = true});
      std::mt19937 inputs(11);
      constexpr int64_t kMost = 300;
      Buffer x = randomFloats(inputs, size_t(kMost * k)), want = filled(size_t(kMost * n), NAN);
      for (int64_t i = 0; i < kMost * k; ++i)
        x.data()[i] = bf16ToFloat(floatToBf16(x.data()[i] * 0.1f));
      kernel->run({x.data<void>(), gate.packed.data<void>(), up.packed.data<void>(), want.data<void>()}, {{"m", kMost}}, 1);
      for (int64_t i = 0; i < kMost; ++i)
        for (int64_t j = 0; j < n; ++j)
          checkNear(want.data()[i * n + j], silu(dot(x.data() + i * k, gate, j, k)) * dot(x.data() + i * k, up, j, k), i, j);
      for (int64_t m : {1, 3, 16, 17, 33, 131, 300})
        for (unsigned parts : {2u, 5u}) {
          Buffer out = filled(size_t(m * n), NAN);
          kernel->run({x.data<void>(), gate.packed.data<void>(), up.packed.data<void>(), out.data<void>()}, {{"m", m}}, parts);
          ASSERT_EQ(0, std::memcmp(want.data(), out.data(), size_t(m * n) * 4)) << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts;
        }
    }
  }
}

// q, k, v of different widths from one input, two of them with a bias; the weights as [K, N].
TEST(Linear, JoinedProjections) {
  const std::string text = R"(
func.func @f(%x: tensor<?x64xf32> {llm.dims = ["m", 64]}, %q: tensor<64x96xf32>, %k: tensor<64x17xf32>, %v: tensor<64x5xf32>, %bq: tensor<96xf32>, %bv: tensor<5xf32>) -> (tensor<?x96xf32>, tensor<?x17xf32>, tensor<?x5xf32>) {
  %r:3 = exec.kernel "linear"(%x, %q, %k, %v, %bq, %bv) : (tensor<?x64xf32>, tensor<64x96xf32>, tensor<64x17xf32>, tensor<64x5xf32>, tensor<96xf32>, tensor<5xf32>) -> (tensor<?x96xf32>, tensor<?x17xf32>, tensor<?x5xf32>) {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<64x96xf32>, %c: tensor<64x17xf32>, %d: tensor<64x5xf32>, %e: tensor<96xf32>, %g: tensor<5xf32>):
    %0 = llm.linear %a, %b, %e {transposed} : tensor<?x64xf32>, tensor<64x96xf32>, tensor<96xf32> -> tensor<?x96xf32>
    %1 = llm.linear %a, %c {transposed} : tensor<?x64xf32>, tensor<64x17xf32> -> tensor<?x17xf32>
    %2 = llm.linear %a, %d, %g {transposed} : tensor<?x64xf32>, tensor<64x5xf32>, tensor<5xf32> -> tensor<?x5xf32>
    exec.yield %0, %1, %2 : tensor<?x96xf32>, tensor<?x17xf32>, tensor<?x5xf32>
  }
  return %r#0, %r#1, %r#2 : tensor<?x96xf32>, tensor<?x17xf32>, tensor<?x5xf32>
})";
  constexpr int64_t kK = 64;
  const int64_t widths[] = {96, 17, 5};
  for (const TargetPair &pair : runnableTargetsAndTiles()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy, {.terms = 3});
    std::mt19937 random(5);
    std::vector<Weight> weights;
    for (int64_t width : widths)
      weights.push_back(makeWeight(random, DType::F32, width, kK, /*outputsFirst=*/false));
    Buffer bq = randomFloats(random, 96), bv = randomFloats(random, 5);
    const float *biases[] = {bq.data(), nullptr, bv.data()};
    for (int64_t m : {1, 3, 20, 70})
      for (unsigned parts : {1u, 4u}) {
        Buffer x = randomFloats(random, size_t(m * kK));
        Buffer outputs[] = {filled(size_t(m * 96), NAN), filled(size_t(m * 17), NAN), filled(size_t(m * 5), NAN)};
        kernel->run({x.data(), weights[0].packed.data(), weights[1].packed.data(), weights[2].packed.data(), bq.data(), bv.data(),
                     outputs[0].data(), outputs[1].data(), outputs[2].data()},
                    {{"m", m}}, parts);
        for (size_t p = 0; p < 3; ++p)
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < widths[p]; ++j)
              checkNear(outputs[p].data()[i * widths[p] + j],
                        dot(x.data() + i * kK, weights[p], j, kK, widths[p]) + (biases[p] ? biases[p][j] : 0), i, j);
      }
  }
}

// A norm in front: y = norm(x + r) W^T, where the sum and the norm are results too. Each part norms the rows it multiplies, one stores them.
TEST(Linear, NormInFront) {
  for (const char *norm : {"layer_norm %s scale %f : tensor<K> bias %f : tensor<K> {epsilon = 1.0e-5 : f32} : ", "rms_norm %s scale %f : tensor<K> {epsilon = 1.0e-5 : f32} : "})
    for (auto [n, k] : {std::pair<int64_t, int64_t>(17, 5), {70, 64}, {33, 513}}) {
      std::string x = type("?x" + str(k)), w = type(str(n) + "x" + str(k)), y = type("?x" + str(n)), f = type(str(k)), dims = " {llm.dims = [\"m\", " + str(k) + "]}";
      std::string operation = std::regex_replace(std::string(norm), std::regex("tensor<K>"), f);
      std::string text = "func.func @f(%x: " + x + dims + ", %r: " + x + dims + ", %g: " + f + ", %w: " + w + ") -> (" + x + ", " + x + ", " + y + ") {\n %o:3 = exec.kernel \"linear\"(%x, %r, %g, %w) : (" +
                         x + ", " + x + ", " + f + ", " + w + ") -> (" + x + ", " + x + ", " + y + ") {\n ^bb0(%a: " + x + ", %b: " + x + ", %f: " + f + ", %v: " + w + "):\n %s = llm.add %a, %b : " + x + ", " +
                         x + " -> " + x + "\n %n = llm." + operation + x + " -> " + x + "\n %y = llm.linear %n, %v : " + x + ", " + w + " -> " + y + "\n exec.yield %s, %n, %y : " + x + ", " + x +
                         ", " + y + "\n }\n return %o#0, %o#1, %o#2 : " + x + ", " + x + ", " + y + "\n}";
      bool centered = std::string_view(norm).starts_with("layer");
      for (const TargetPair &pair : runnableTargetsAndTiles()) {
        SCOPED_TRACE(pair.name() + " " + norm + " N=" + str(n) + " K=" + str(k));
        auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy, {.terms = 3});
        std::mt19937 random(5);
        Weight weight = makeWeight(random, DType::F32, n, k);
        Buffer factor = randomFloats(random, size_t(k));
        for (int64_t m : {1, 2, 4, 5, 24, 25, 131})
          for (unsigned parts : {1u, 3u}) {
            Buffer in = randomFloats(random, size_t(m * k)), skip = randomFloats(random, size_t(m * k));
            Buffer sum = filled(size_t(m * k), NAN), normed = filled(size_t(m * k), NAN), out = filled(size_t(m * n), NAN);
            kernel->run({in.data(), skip.data(), factor.data(), weight.packed.data(), sum.data(), normed.data(), out.data()}, {{"m", m}}, parts);
            for (int64_t i = 0; i < m; ++i) {
              double mean = 0, square = 0;
              for (int64_t j = 0; j < k; ++j)
                mean += (double(in.data()[i * k + j]) + skip.data()[i * k + j]) / double(k);
              if (!centered)
                mean = 0;
              for (int64_t j = 0; j < k; ++j)
                square += std::pow(double(in.data()[i * k + j]) + skip.data()[i * k + j] - mean, 2) / double(k);
              for (int64_t j = 0; j < k; ++j) {
                double value = double(in.data()[i * k + j]) + skip.data()[i * k + j], g = factor.data()[j];
                checkNear(sum.data()[i * k + j], value, i, j);
                checkNear(normed.data()[i * k + j], (value - mean) / std::sqrt(square + 1e-5) * g + (centered ? g : 0), i, j);
              }
              for (int64_t j = 0; j < n; ++j)
                checkNear(out.data()[i * n + j], dot(normed.data() + i * k, weight, j, k), i, j);
            }
          }
      }
    }
}

// y = x[i] W^T + r[i]: numbers of rows count from the end where negative, lead nowhere outside, and may be none.
TEST(Linear, RowsAskedFor) {
  constexpr int64_t kN = 70, kK = 64, kTokens = 40;
  const std::string text = R"(
func.func @f(%x: tensor<?x64xf32> {llm.dims = ["t", 64]}, %i: tensor<?xi32> {llm.dims = ["m"]}, %w: tensor<70x64xf32>, %r: tensor<?x70xf32> {llm.dims = ["t", 70]}) -> tensor<?x70xf32> {
  %o = exec.kernel "linear"(%x, %i, %w, %r) : (tensor<?x64xf32>, tensor<?xi32>, tensor<70x64xf32>, tensor<?x70xf32>) -> tensor<?x70xf32> {
  ^bb0(%a: tensor<?x64xf32>, %j: tensor<?xi32>, %b: tensor<70x64xf32>, %c: tensor<?x70xf32>):
    %0 = llm.gather %c, %j {axis = 0 : i64} : tensor<?x70xf32>, tensor<?xi32> -> tensor<?x70xf32>
    %1 = llm.gather %a, %j {axis = 0 : i64} : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
    %2 = llm.linear %1, %b : tensor<?x64xf32>, tensor<70x64xf32> -> tensor<?x70xf32>
    %3 = llm.add %0, %2 : tensor<?x70xf32>, tensor<?x70xf32> -> tensor<?x70xf32>
    exec.yield %3 : tensor<?x70xf32>
  }
  return %o : tensor<?x70xf32>
})";
  for (const TargetPair &pair : runnableTargetsAndTiles()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(text, cpu::lowerLinear, pair.target, pair.strategy, {.terms = 3});
    std::mt19937 random(5);
    Weight weight = makeWeight(random, DType::F32, kN, kK);
    Buffer x = randomFloats(random, size_t(kTokens * kK)), residual = randomFloats(random, size_t(kTokens * kN));
    for (int64_t m : {0, 1, 2, 4, 5, 24, 25, 131}) {
      Buffer rows(size_t(m * 4 + 4)), y = filled(size_t(m * kN + 1), NAN);
      for (int64_t i = 0; i < m; ++i)
        rows.data<int32_t>()[i] = i == 3 ? -1000 : i == 4 ? 1000 : int32_t(random() % (2 * kTokens)) - int32_t(kTokens);
      kernel->run({x.data(), rows.data<int32_t>(), weight.packed.data(), residual.data(), y.data()}, {{"t", kTokens}, {"m", m}}, 2);
      for (int64_t i = 0; i < m; ++i) {
        int64_t row = rows.data<int32_t>()[i];
        row = std::clamp<int64_t>(row < 0 ? row + kTokens : row, 0, kTokens - 1);
        for (int64_t j = 0; j < kN; ++j)
          checkNear(y.data()[i * kN + j], dot(x.data() + row * kK, weight, j, kK) + residual.data()[row * kN + j], i, j);
      }
      ASSERT_TRUE(std::isnan(y.data()[m * kN])) << "M=" << m;
    }
  }
}

// The inner loop keeps its accumulators in registers.
TEST(Linear, InnerLoopWithoutSpills) {
  for (const char *name : {"x86-64-v3", "x86-64-v4"}) {
    Target target = *findTarget(name);
    if (!missingFeatures(target.features).empty())
      continue;
    for (const char *element : {"f32", "bf16", "f16", "f32 gelu"}) {
      SCOPED_TRACE(std::string(name) + " " + element);
      // An epilogue with many constants, which must not take the loop's registers either.
      bool gelu = std::string_view(element) == "f32 gelu";
      std::string text = plainText(96, 512, gelu ? "f32" : element);
      if (gelu)
        text = std::regex_replace(text, std::regex("exec.yield %y"), "%z = llm.gelu %y : tensor<?x96xf32>\n    exec.yield %z");
      auto kernel = CompiledKernel::make(text, cpu::lowerLinear, target, target);
      InnerLoops loops = innerLoops(kernel->assembly(), "vfmadd");
      EXPECT_EQ(loops.spilling, "");
      EXPECT_GE(loops.number, 6);
    }
  }
}
