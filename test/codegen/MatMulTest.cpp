//===- MatMulTest.cpp - products of run-time tensors against plain loops --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "llmopt/lib/Support/DType.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace llmopt::cpu {
Result<LoweredKernel> lowerMatMul(exec::KernelOp kernel, FamilyContext &context);
}

using namespace llmopt;
using namespace llmopt::test;

namespace {

/// Dimensions are sizes, or names of symbols.
struct Shape {
  std::vector<std::string> dims;
  bool isSymbol(size_t i) const { return std::isalpha(static_cast<unsigned char>(dims[i][0])) != 0; }
  std::string type(const std::string &element) const {
    std::string text = "tensor<";
    for (size_t i = 0; i < dims.size(); ++i)
      text += (isSymbol(i) ? "?" : dims[i]) + "x";
    return text + element + ">";
  }
  std::string names() const {
    std::string text = "{llm.dims = [";
    for (size_t i = 0; i < dims.size(); ++i)
      text += (i ? ", " : "") + (isSymbol(i) ? "\"" + dims[i] + "\"" : dims[i]);
    return text + "]}";
  }
};

std::string matmulText(const Shape &left, const Shape &right, const Shape &result, const std::string &leftType,
                       const std::string &rightType, const std::string &resultType) {
  std::string l = left.type(leftType), r = right.type(rightType), y = result.type(resultType);
  return "func.func @f(%l: " + l + " " + left.names() + ", %r: " + r + " " + right.names() + ") -> " + y +
         " {\n %y = exec.kernel \"matmul\"(%l, %r) : (" + l + ", " + r + ") -> " + y + " {\n ^bb0(%a: " + l + ", %b: " + r + "):\n %0 = llm.matmul %a, %b : " +
         l + ", " + r + " -> " + y + "\n exec.yield %0 : " + y + "\n }\n return %y : " + y + "\n}";
}

using Symbols = std::map<std::string, int64_t, std::less<>>;

struct Sizes {
  int64_t m, k, n;
};
const Sizes kSizes[] = {{1, 1, 1}, {1, 64, 7}, {5, 3, 17}, {7, 300, 65}, {13, 513, 1}, {97, 33, 64}, {100, 257, 130}};

template <typename Value, typename Sum>
void checkPlain(const std::string &element, const std::string &result, double tolerance) {
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name() + " " + element);
    auto kernel = CompiledKernel::make(matmulText({{"m", "k"}}, {{"k", "n"}}, {{"m", "n"}}, element, element, result),
                                       cpu::lowerMatMul, pair.target, pair.strategy);
    std::mt19937 random(3);
    for (auto [m, k, n] : kSizes) {
      Buffer left(size_t(m * k) * sizeof(Value)), right(size_t(k * n) * sizeof(Value)), y(size_t(m * n) * sizeof(Sum));
      auto fill = [&](Buffer &buffer, int64_t count) {
        for (int64_t i = 0; i < count; ++i)
          buffer.data<Value>()[i] = std::is_integral_v<Value> ? Value(random()) : Value(double(random()) / 2147483648.0 - 1);
      };
      fill(left, m * k);
      fill(right, k * n);
      kernel->run({left.data<void>(), right.data<void>(), y.data<void>()}, {{"m", m}, {"k", k}, {"n", n}}, 2);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t x = 0; x < k; ++x)
            sum += double(left.data<Value>()[i * k + x]) * double(right.data<Value>()[x * n + j]);
          ASSERT_NEAR(double(y.data<Sum>()[i * n + j]), sum, tolerance * std::sqrt(double(k)))
              << m << "x" << k << "x" << n << " at " << i << "," << j;
        }
    }
  }
}

} // namespace

TEST(MatMul, F32) { checkPlain<float, float>("f32", "f32", 1e-5); }
TEST(MatMul, F64) { checkPlain<double, double>("f64", "f64", 1e-13); }
TEST(MatMul, I8) { checkPlain<int8_t, int32_t>("i8", "i32", 0); }
TEST(MatMul, U8) { checkPlain<uint8_t, int32_t>("ui8", "i32", 0); }

TEST(MatMul, BatchBroadcasts) {
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(
        matmulText({{"b", "1", "m", "k"}}, {{"3", "k", "n"}}, {{"b", "3", "m", "n"}}, "f32", "f32", "f32"), cpu::lowerMatMul,
        pair.target, pair.strategy);
    std::mt19937 random(3);
    for (auto [m, k, n] : kSizes) {
      constexpr int64_t kB = 2, kC = 3;
      Buffer left = randomFloats(random, size_t(kB * m * k)), right = randomFloats(random, size_t(kC * k * n));
      Buffer y = filled(size_t(kB * kC * m * n), NAN);
      kernel->run({left.data(), right.data(), y.data()}, {{"b", kB}, {"m", m}, {"k", k}, {"n", n}}, 3);
      for (int64_t b = 0; b < kB; ++b)
        for (int64_t c = 0; c < kC; ++c)
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              double sum = 0;
              for (int64_t x = 0; x < k; ++x)
                sum += double(left.data()[(b * m + i) * k + x]) * right.data()[(c * k + x) * n + j];
              ASSERT_NEAR(y.data()[((b * kC + c) * m + i) * n + j], sum, 1e-5 * std::sqrt(double(k)));
            }
    }
  }
}

// Widths known when compiling that are whole panels but no whole work units: nothing is written beyond a row, which would be the
// next row (of another thread) or lie behind the result.
TEST(MatMul, StaticWidths) {
  for (const TargetPair &pair : runnableTargets())
    for (int64_t n : {1, 16, 48, 63, 64, 80, 128}) {
      SCOPED_TRACE(pair.name() + " N=" + std::to_string(n));
      constexpr int64_t kM = 7, kK = 19;
      std::string width = std::to_string(n);
      auto kernel = CompiledKernel::make(matmulText({{"b", "7", "19"}}, {{"19", width}}, {{"b", "7", width}}, "f32", "f32", "f32"),
                                         cpu::lowerMatMul, pair.target, pair.strategy);
      std::mt19937 random(3);
      constexpr int64_t kB = 4;
      Buffer left = randomFloats(random, kB * kM * kK), right = randomFloats(random, size_t(kK * n)), y = filled(size_t(kB * kM * n), NAN);
      // The parts in both orders: what one writes outside its units would survive in one of them.
      kernel->run({left.data(), right.data(), y.data()}, {{"b", kB}}, 2);
      Buffer reversed = filled(size_t(kB * kM * n), NAN);
      kernel->run({left.data(), right.data(), reversed.data()}, {{"b", kB}}, 2, nullptr, /*lastPartFirst=*/true);
      ASSERT_EQ(0, std::memcmp(y.data(), reversed.data(), y.bytes()));
      for (int64_t i = 0; i < kB * kM; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t x = 0; x < kK; ++x)
            sum += double(left.data()[i * kK + x]) * right.data()[x * n + j];
          ASSERT_NEAR(y.data()[i * n + j], sum, 1e-4) << i << "," << j;
        }
    }
}

TEST(MatMul, RowsAndColumnsOfRankOne) {
  Target target = *findTarget("native");
  std::mt19937 random(3);
  constexpr int64_t kK = 37, kN = 21, kB = 2;
  Buffer vector = randomFloats(random, kK), matrix = randomFloats(random, kB * kK * kN), left = randomFloats(random, kB * kN * kK);
  Buffer y = filled(kB * kN, NAN);
  auto rowTimes = CompiledKernel::make(matmulText({{"k"}}, {{"b", "k", "n"}}, {{"b", "n"}}, "f32", "f32", "f32"), cpu::lowerMatMul,
                                       target, target);
  rowTimes->run({vector.data(), matrix.data(), y.data()}, {{"b", kB}, {"k", kK}, {"n", kN}}, 1);
  for (int64_t b = 0; b < kB; ++b)
    for (int64_t j = 0; j < kN; ++j) {
      double sum = 0;
      for (int64_t x = 0; x < kK; ++x)
        sum += double(vector.data()[x]) * matrix.data()[(b * kK + x) * kN + j];
      EXPECT_NEAR(y.data()[b * kN + j], sum, 1e-4);
    }
  auto timesColumn = CompiledKernel::make(matmulText({{"b", "m", "k"}}, {{"k"}}, {{"b", "m"}}, "f32", "f32", "f32"),
                                          cpu::lowerMatMul, target, target);
  timesColumn->run({left.data(), vector.data(), y.data()}, {{"b", kB}, {"k", kK}, {"m", kN}}, 2);
  for (int64_t i = 0; i < kB * kN; ++i) {
    double sum = 0;
    for (int64_t x = 0; x < kK; ++x)
      sum += double(left.data()[i * kK + x]) * vector.data()[x];
    EXPECT_NEAR(y.data()[i], sum, 1e-4);
  }
}

TEST(MatMul, HalvesWithEpilogue) {
  const std::string text = R"(
func.func @f(%l: tensor<?x?xbf16> {llm.dims = ["m", "k"]}, %r: tensor<?x?xbf16> {llm.dims = ["k", "n"]}, %c: tensor<?xbf16> {llm.dims = ["n"]}) -> tensor<?x?xbf16> {
  %y = exec.kernel "matmul"(%l, %r, %c) : (tensor<?x?xbf16>, tensor<?x?xbf16>, tensor<?xbf16>) -> tensor<?x?xbf16> {
  ^bb0(%a: tensor<?x?xbf16>, %b: tensor<?x?xbf16>, %d: tensor<?xbf16>):
    %0 = llm.matmul %a, %b : tensor<?x?xbf16>, tensor<?x?xbf16> -> tensor<?x?xbf16>
    %1 = llm.add %0, %d : tensor<?x?xbf16>, tensor<?xbf16> -> tensor<?x?xbf16>
    %2 = llm.relu %1 : tensor<?x?xbf16>
    exec.yield %2 : tensor<?x?xbf16>
  }
  return %y : tensor<?x?xbf16>
})";
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name());
    auto kernel = CompiledKernel::make(text, cpu::lowerMatMul, pair.target, pair.strategy);
    std::mt19937 random(3);
    auto halves = [&](int64_t count) {
      Buffer buffer(size_t(count) * 2);
      std::uniform_real_distribution<float> uniform(-1, 1);
      for (int64_t i = 0; i < count; ++i)
        buffer.data<uint16_t>()[i] = floatToBf16(uniform(random));
      return buffer;
    };
    auto at = [](const Buffer &buffer, int64_t i) { return double(bf16ToFloat(buffer.data<uint16_t>()[i])); };
    for (auto [m, k, n] : kSizes) {
      Buffer left = halves(m * k), right = halves(k * n), added = halves(n), y = halves(m * n);
      kernel->run({left.data<void>(), right.data<void>(), added.data<void>(), y.data<void>()}, {{"m", m}, {"k", k}, {"n", n}}, 2);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = at(added, j);
          for (int64_t x = 0; x < k; ++x)
            sum += at(left, i * k + x) * at(right, x * n + j);
          ASSERT_NEAR(at(y, i * n + j), std::max(sum, 0.0), 0.01 * std::abs(sum) + 0.02);
        }
    }
  }
}
