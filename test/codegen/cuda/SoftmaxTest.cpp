//===- SoftmaxTest.cpp - softmax of rows, emulated ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/softmax.cuh"

namespace no_barrier { // injected: barriers are missing
#define blockSync()
#include "codegen/CUDA/kernels/softmax.cuh"
#undef blockSync
} // namespace no_barrier

template <int kCount>
struct TestRows {
  static constexpr int kThreads = kCount;
  const float *x;
  float *y;
  i64 width;
  float load(i64 row, i64 column) const { return x[row * width + column] * 0.5f; }
  void store(i64 row, i64 column, float value) const { y[row * width + column] = value; }
};

template <class Family, class Rows>
void entry(Rows rows, i64 units, i64 width) {
  Family::run(rows, units, width);
}

/// The worst error over all modes; the last row has an infinity in it that masks.
template <template <class> class Family, int kThreads>
double worstError(i64 width) {
  typedef TestRows<kThreads> Rows;
  constexpr i64 kRows = 5;
  Buffer<float> x(kRows * width), y(kRows * width);
  x.random(1, 20);
  for (i64 i = 1; i < width; i += 2)
    x[(kRows - 1) * width + i] = -INFINITY;
  double worst = 0;
  for (const char *mode : kModes) {
    std::fill(y.data(), y.data() + y.size(), NAN);
    EXPECT_EQ(launch(mode, entry<Family<Rows>, Rows>, 2, kThreads, 0, Rows{x.data(), y.data(), width}, kRows, width), "");
    Error error;
    for (i64 row = 0; row < kRows; ++row) {
      double most = -INFINITY, sum = 0;
      for (i64 i = 0; i < width; ++i)
        most = std::max(most, 0.5 * x[row * width + i]);
      for (i64 i = 0; i < width; ++i)
        sum += std::exp(0.5 * x[row * width + i] - most);
      for (i64 i = 0; i < width; ++i)
        error.add(y[row * width + i], std::exp(0.5 * x[row * width + i] - most) / sum);
    }
    worst = std::max(worst, error.worst());
  }
  return worst;
}

TEST(Softmax, RowsOfAllWidths) {
  for (i64 width : {1, 37, 256, 257, 300})
    EXPECT_LT((worstError<Softmax, 32>(width)), 2e-6) << width;
  for (i64 width : {1, 500, 1024, 1531})
    EXPECT_LT((worstError<Softmax, 128>(width)), 2e-6) << width;
}
TEST(Softmax, InjectedErrorsAreCaught) { EXPECT_GT((worstError<no_barrier::Softmax, 128>(500)), 0.01); }

} // namespace
