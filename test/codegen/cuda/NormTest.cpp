//===- NormTest.cpp - normalisation of rows, emulated ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/block_join.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

struct RmsRows {
  typedef bf16 Input, Residual, Weight, Output;
  static constexpr int kDepth = 1096, kThreads = 64;
  static constexpr bool kCenter = false;
  static constexpr float epsilon() { return 1e-5f; }
};
struct LayerRows {
  typedef float Input, Residual, Weight, Output;
  static constexpr int kDepth = 37, kThreads = 32;
  static constexpr bool kCenter = true;
  static constexpr float epsilon() { return 1e-5f; }
};

#include "codegen/CUDA/kernels/norm.cuh"

namespace no_barrier { // injected: a barrier is missing
#define blockSync()
#include "codegen/CUDA/kernels/norm.cuh"
#undef blockSync
} // namespace no_barrier

struct TestRows {
  i64 rows, depth;
  Buffer<bf16> x, residual, sum, weight, output;
  TestRows(i64 rows, i64 depth) : rows(rows), depth(depth), x(rows * depth), residual(rows * depth), sum(rows * depth), weight(depth), output(rows * depth) {
    x.random(1);
    residual.random(2, 3);
    weight.random(3, 2);
  }
  double error() const {
    Error error;
    for (i64 row = 0; row < rows; ++row) {
      double squares = 0;
      auto value = [&](i64 i) { return double(toFloat(x[row * depth + i])) + toFloat(residual[row * depth + i]); };
      for (i64 i = 0; i < depth; ++i)
        squares += value(i) * value(i);
      for (i64 i = 0; i < depth; ++i) {
        error.add(toFloat(sum[row * depth + i]), value(i));
        error.add(toFloat(output[row * depth + i]), value(i) / std::sqrt(squares / depth + 1e-5) * toFloat(weight[i]));
      }
    }
    return error.worst();
  }
};

TEST(Norm, RmsWithResidual) {
  TestRows rows(5, 1096);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, Norm<RmsRows>::run<bf16 *>, 2, 64, 0, rows.x.data(), rows.residual.data(), rows.sum.data(), rows.weight.data(), nullptr, rows.output.data(), i64(5)),
              "");
    EXPECT_LT(rows.error(), 4e-3) << mode;
  }
  ASSERT_EQ(launch("", no_barrier::Norm<RmsRows>::run<bf16 *>, 2, 64, 0, rows.x.data(), rows.residual.data(), rows.sum.data(), rows.weight.data(),
                   nullptr, rows.output.data(), i64(5)),
            "");
  EXPECT_GT(rows.error(), 0.1);
}

TEST(Norm, LayerNormOfOddWidth) {
  Buffer<float> x(3 * 37), weight(37), bias(37), output(3 * 37);
  x.random(1, 2);
  weight.random(2);
  bias.random(3);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, Norm<LayerRows>::run<float *>, 2, 32, 0, x.data(), nullptr, nullptr, weight.data(), bias.data(), output.data(), i64(3)), "");
    Error error;
    for (int row = 0; row < 3; ++row) {
      double mean = 0, variance = 0;
      for (int i = 0; i < 37; ++i)
        mean += x[row * 37 + i] / 37.0;
      for (int i = 0; i < 37; ++i)
        variance += (x[row * 37 + i] - mean) * (x[row * 37 + i] - mean) / 37;
      for (int i = 0; i < 37; ++i)
        error.add(output[row * 37 + i], (x[row * 37 + i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i]);
    }
    EXPECT_LT(error.worst(), 1e-5) << mode;
  }
}

/// As a quantized layer has it behind its norm.
struct Quantized {
  static constexpr int kExtrema = 0;
  u8 *to;
  void store(i64 row, i64 column, float value, float *) const { to[row * 37 + column] = u8(std::min(255.0f, std::max(0.0f, nearbyintf(value * 20) + 120))); }
};

TEST(Norm, LayerNormQuantized) {
  Buffer<float> x(3 * 37), weight(37), bias(37), output(3 * 37);
  x.random(1, 2);
  weight.random(2, 6);
  bias.random(3);
  ASSERT_EQ(launch("", Norm<LayerRows>::run<float *>, 2, 32, 0, x.data(), nullptr, nullptr, weight.data(), bias.data(), output.data(), i64(3)), "");
  for (const char *mode : kModes) {
    Buffer<u8> bytes(3 * 37), expected(3 * 37);
    ASSERT_EQ(launch(mode, Norm<LayerRows>::run<Quantized>, 2, 32, 0, x.data(), nullptr, nullptr, weight.data(), bias.data(), Quantized{bytes.data()}, i64(3)), "");
    for (int i = 0; i < 3 * 37; ++i)
      Quantized{expected.data()}.store(0, i, output[i], nullptr);
    EXPECT_EQ(std::vector<u8>(bytes.data(), bytes.data() + 111), std::vector<u8>(expected.data(), expected.data() + 111)) << mode;
    EXPECT_TRUE(std::count(bytes.data(), bytes.data() + 111, 255) && std::count(bytes.data(), bytes.data() + 111, 0)) << "the test needs both ends";
  }
}

/// What quantization of rows as they come needs: the extrema of each.
struct RowExtrema {
  static constexpr int kExtrema = 2;
  float *to, *most, *least;
  i64 depth;
  void store(i64 row, i64 column, float value, float *terms) const { to[row * depth + column] = terms[0] = terms[1] = value; }
  void begin(float (&values)[2]) const { values[0] = -INFINITY, values[1] = INFINITY; }
  void join(float (&values)[2], const float (&others)[2]) const {
    values[0] = values[0] > others[0] || values[0] != values[0] ? values[0] : others[0];
    values[1] = values[1] < others[1] || values[1] != values[1] ? values[1] : others[1];
  }
  void storeExtrema(i64 row, const float (&values)[2]) const { most[row] = values[0], least[row] = values[1]; }
};
struct WideRows : LayerRows {
  static constexpr int kDepth = 1033, kThreads = 160;
};

template <class Rows>
void checkExtrema() {
  constexpr i64 kRows = 5, kDepth = Rows::kDepth;
  Buffer<float> x(kRows * kDepth), weight(kDepth), bias(kDepth);
  x.random(1, 2);
  weight.random(2, 6);
  bias.random(3);
  x[3 * kDepth + kDepth / 2] = NAN;
  for (const char *mode : kModes) {
    Buffer<float> y(kRows * kDepth, -7), most(kRows, -7), least(kRows, -7);
    ASSERT_EQ(launch(mode, Norm<Rows>::template run<RowExtrema>, 2, Rows::kThreads, 0, x.data(), nullptr, nullptr, weight.data(), bias.data(),
                     RowExtrema{y.data(), most.data(), least.data(), kDepth}, kRows),
              "");
    for (i64 row = 0; row < kRows; ++row) {
      if (row == 3) {
        EXPECT_TRUE(std::isnan(most[3]) && std::isnan(least[3])) << mode;
        continue;
      }
      EXPECT_EQ(most[row], *std::max_element(y.data() + row * kDepth, y.data() + (row + 1) * kDepth)) << mode;
      EXPECT_EQ(least[row], *std::min_element(y.data() + row * kDepth, y.data() + (row + 1) * kDepth)) << mode;
    }
  }
}
TEST(Norm, ExtremaOfRows) {
  checkExtrema<LayerRows>();
  checkExtrema<WideRows>();
}

} // namespace
