//===- NormTest.cpp - normalisation of rows, emulated ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

#define LLMOPT_EPSILON 1e-5f
#define LLMOPT_INPUT_TYPE bf16
#define LLMOPT_RESIDUAL_TYPE bf16
#define LLMOPT_WEIGHT_TYPE bf16
#define LLMOPT_OUTPUT_TYPE bf16
#define LLMOPT_DEPTH 1096
#define LLMOPT_THREADS 64
#define LLMOPT_CENTER 0
#define LLMOPT_RESIDUAL 1
#define LLMOPT_STORE_SUM 1
#define LLMOPT_BIAS 0
#define LLMOPT_ENTRY rmsNorm
namespace rms {
#include "codegen/CUDA/kernels/norm.cuh"
} // namespace rms

#undef LLMOPT_ENTRY
#define LLMOPT_ENTRY rmsNormNoBarrier
namespace rms_no_barrier { // injected: a barrier is missing
#define blockSync()
#include "codegen/CUDA/kernels/norm.cuh"
#undef blockSync
} // namespace rms_no_barrier

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#undef LLMOPT_WEIGHT_TYPE
#undef LLMOPT_OUTPUT_TYPE
#undef LLMOPT_DEPTH
#undef LLMOPT_THREADS
#undef LLMOPT_CENTER
#undef LLMOPT_RESIDUAL
#undef LLMOPT_STORE_SUM
#undef LLMOPT_BIAS
#define LLMOPT_INPUT_TYPE float
#define LLMOPT_WEIGHT_TYPE float
#define LLMOPT_OUTPUT_TYPE float
#define LLMOPT_DEPTH 37
#define LLMOPT_THREADS 32
#define LLMOPT_CENTER 1
#define LLMOPT_RESIDUAL 0
#define LLMOPT_STORE_SUM 0
#define LLMOPT_BIAS 1
#define LLMOPT_ENTRY layerNorm
namespace layer {
#include "codegen/CUDA/kernels/norm.cuh"
} // namespace layer

struct Rows {
  i64 rows, depth;
  Buffer<bf16> x, residual, sum, weight, output;
  Rows(i64 rows, i64 depth) : rows(rows), depth(depth), x(rows * depth), residual(rows * depth), sum(rows * depth), weight(depth), output(rows * depth) {
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
  Rows rows(5, 1096);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, rms::rmsNorm, 2, 64, 0, rows.x.data(), rows.residual.data(), rows.sum.data(), rows.weight.data(), rows.output.data(), i64(5)),
              "");
    EXPECT_LT(rows.error(), 4e-3) << mode;
  }
  ASSERT_EQ(launch("", rms_no_barrier::rmsNormNoBarrier, 2, 64, 0, rows.x.data(), rows.residual.data(), rows.sum.data(), rows.weight.data(),
                   rows.output.data(), i64(5)),
            "");
  EXPECT_GT(rows.error(), 0.1);
}

TEST(Norm, LayerNormOfOddWidth) {
  Buffer<float> x(3 * 37), weight(37), bias(37), output(3 * 37);
  x.random(1, 2);
  weight.random(2);
  bias.random(3);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, layer::layerNorm, 2, 32, 0, x.data(), weight.data(), bias.data(), output.data(), i64(3)), "");
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

} // namespace
