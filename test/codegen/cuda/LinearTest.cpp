//===- LinearTest.cpp - products of a linear layer, emulated --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

/// One product: adds a bias. Two: multiplies them, as a gate does.
template <int kCount>
struct TestEpilogue {
  float *output;
  const float *bias;
  i64 columns;
  static constexpr int kProducts = kCount;
  template <int N>
  void store(i64 row, i64 column, const float (&products)[kProducts][N]) const {
    ASSERT_LE(column + N, columns);
    for (int c = 0; c < N; ++c) {
      float &to = output[row * columns + column + c];
      ASSERT_TRUE(std::isnan(to)) << "written twice";
      to = kCount == 2 ? products[0][c] * products[kCount - 1][c] : products[0][c] + bias[column + c];
    }
  }
};

/// Data of one layer, and its result in double.
template <class Input, class Weight, int kProducts>
struct Layer {
  i64 rows, depth, columns, stride;
  Buffer<Input> x;
  Buffer<Weight> weight, weight1;
  Buffer<float> bias, output;
  TestEpilogue<kProducts> epilogue;

  Layer(i64 rows, i64 depth, i64 columns)
      : rows(rows), depth(depth), columns(columns), stride((depth * sizeof(Weight) + 15) / 16 * 16 / sizeof(Weight)), x(rows * depth),
        weight(columns * stride), weight1(columns * stride), bias(columns), output(rows * columns), epilogue{output.data(), bias.data(), columns} {
    float scale = sizeof(Input) == 1 ? 5 : 1;
    x.random(1, scale);
    weight.random(2, scale);
    weight1.random(3, scale);
    bias.random(4);
  }
  void clear() { std::fill(output.data(), output.data() + output.size(), NAN); }
  double error() const {
    Error error;
    for (i64 row = 0; row < rows; ++row)
      for (i64 column = 0; column < columns; ++column) {
        double sum[2] = {};
        for (i64 k = 0; k < depth; ++k)
          for (int p = 0; p < kProducts; ++p)
            sum[p] += double(load(x[row * depth + k])) * load((p ? weight1 : weight)[column * stride + k]);
        error.add(output[row * columns + column], kProducts == 2 ? sum[0] * sum[1] : sum[0] + bias[column]);
      }
    return error.worst();
  }
};

// A family's source once for each set of macros.
#define LLMOPT_DEPTH 136
#define LLMOPT_COLUMNS 203
#define LLMOPT_PRODUCTS 1
#define LLMOPT_TILE_M 64
#define LLMOPT_TILE_N 64
#define LLMOPT_STAGES 3
#define LLMOPT_WARPS_M 2
#define LLMOPT_WARPS_N 2
#define LLMOPT_INPUT_TYPE bf16
#define LLMOPT_ENTRY gemmMmaBf16
namespace mma_bf16 {
typedef TestEpilogue<1> Epilogue;
#include "codegen/CUDA/kernels/gemm_mma.cuh"
} // namespace mma_bf16

#undef LLMOPT_ENTRY
#define LLMOPT_ENTRY gemmMmaNoBarrier
namespace mma_no_barrier { // injected: a barrier is missing
typedef TestEpilogue<1> Epilogue;
#define blockSync()
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#undef blockSync
} // namespace mma_no_barrier

#undef LLMOPT_ENTRY
#define LLMOPT_ENTRY gemmMmaShortWait
namespace mma_short_wait { // injected: waits for one group too few
typedef TestEpilogue<1> Epilogue;
template <u32 kNewest>
void waitForOneLess() {
  copyAsyncWait < kNewest ? kNewest + 1 : 0 > ();
}
#define copyAsyncWait waitForOneLess
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#undef copyAsyncWait
} // namespace mma_short_wait

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#undef LLMOPT_PRODUCTS
#define LLMOPT_PRODUCTS 2
#define LLMOPT_INPUT_TYPE f16
#define LLMOPT_ENTRY gemmMmaGated
namespace mma_gated {
typedef TestEpilogue<2> Epilogue;
#include "codegen/CUDA/kernels/gemm_mma.cuh"
} // namespace mma_gated

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#undef LLMOPT_PRODUCTS
#undef LLMOPT_DEPTH
#define LLMOPT_DEPTH 176
#define LLMOPT_PRODUCTS 1
#define LLMOPT_INPUT_TYPE i8
#define LLMOPT_ENTRY gemmMmaI8
namespace mma_i8 {
typedef TestEpilogue<1> Epilogue;
#include "codegen/CUDA/kernels/gemm_mma.cuh"
} // namespace mma_i8

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#define LLMOPT_INPUT_TYPE e4m3
#define LLMOPT_ENTRY gemmMmaE4m3
namespace mma_e4m3 {
typedef TestEpilogue<1> Epilogue;
#include "codegen/CUDA/kernels/gemm_mma.cuh"
} // namespace mma_e4m3

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#undef LLMOPT_DEPTH
#define LLMOPT_DEPTH 37
#define LLMOPT_INPUT_TYPE float
#define LLMOPT_WEIGHT_TYPE float
#define LLMOPT_ENTRY gemmSimt
namespace simt {
typedef TestEpilogue<1> Epilogue;
#include "codegen/CUDA/kernels/gemm_simt.cuh"
} // namespace simt

#undef LLMOPT_ENTRY
#undef LLMOPT_TILE_N
#define LLMOPT_TILE_N 4
#define LLMOPT_ROWS 2
#define LLMOPT_WARPS 4
#define LLMOPT_ENTRY gemvF32
namespace gemv_f32 {
typedef TestEpilogue<1> Epilogue;
#include "codegen/CUDA/kernels/gemv.cuh"
} // namespace gemv_f32

#undef LLMOPT_ENTRY
#undef LLMOPT_INPUT_TYPE
#undef LLMOPT_WEIGHT_TYPE
#undef LLMOPT_DEPTH
#undef LLMOPT_PRODUCTS
#define LLMOPT_DEPTH 536
#define LLMOPT_PRODUCTS 2
#define LLMOPT_INPUT_TYPE bf16
#define LLMOPT_WEIGHT_TYPE bf16
#define LLMOPT_ENTRY gemvGated
namespace gemv_gated {
typedef TestEpilogue<2> Epilogue;
#include "codegen/CUDA/kernels/gemv.cuh"
} // namespace gemv_gated

i64 tiles(i64 rows, i64 tileM, i64 columns, i64 tileN) { return (rows + tileM - 1) / tileM * ((columns + tileN - 1) / tileN); }

template <class Input, int kProducts, class Kernel>
void checkMma(Kernel kernel, i64 depth, double tolerance) {
  for (i64 rows : {1, 63, 131}) {
    Layer<Input, Input, kProducts> layer(rows, depth, 203);
    i64 units = tiles(rows, 64, 203, 64);
    for (const char *mode : kModes) {
      layer.clear();
      unsigned shared = 3 * (64 + 64 * kProducts) * 128;
      std::string message;
      if constexpr (kProducts == 2)
        message = launch(mode, kernel, 5, 128, shared, layer.x.data(), layer.weight.data(), layer.weight1.data(), rows, units, layer.epilogue);
      else
        message = launch(mode, kernel, 5, 128, shared, layer.x.data(), layer.weight.data(), rows, units, layer.epilogue);
      ASSERT_EQ(message, "");
      EXPECT_LT(layer.error(), tolerance) << mode << ", rows " << rows;
    }
  }
}

TEST(GemmMma, Bf16) { checkMma<bf16, 1>(mma_bf16::gemmMmaBf16, 136, 1e-5); }
TEST(GemmMma, F16Gated) { checkMma<f16, 2>(mma_gated::gemmMmaGated, 136, 1e-5); }
TEST(GemmMma, I8) { checkMma<i8, 1>(mma_i8::gemmMmaI8, 176, 1e-6); }
TEST(GemmMma, E4m3) { checkMma<e4m3, 1>(mma_e4m3::gemmMmaE4m3, 176, 1e-5); }

TEST(GemmMma, InjectedErrorsAreCaught) {
  Layer<bf16, bf16, 1> layer(64, 136, 203);
  auto worst = [&](auto kernel) {
    double worst = 0;
    for (const char *mode : kModes) {
      layer.clear();
      EXPECT_EQ(launch(mode, kernel, 1, 128, 3 * 128 * 128, layer.x.data(), layer.weight.data(), i64(64), i64(4), layer.epilogue), "");
      worst = std::max(worst, layer.error());
    }
    return worst;
  };
  EXPECT_LT(worst(mma_bf16::gemmMmaBf16), 1e-5);
  EXPECT_GT(worst(mma_no_barrier::gemmMmaNoBarrier), 0.1);
  EXPECT_GT(worst(mma_short_wait::gemmMmaShortWait), 0.1);
}

TEST(GemmMma, ReadingBeyondWeightsIsAFault) {
  Layer<bf16, bf16, 1> layer(64, 136, 202); // the kernel believes in 203 columns
  auto run = [&] { launch("", mma_bf16::gemmMmaBf16, 1, 128, 3 * 128 * 128, layer.x.data(), layer.weight.data(), i64(64), i64(4), layer.epilogue); };
  EXPECT_DEATH(run(), "");
}

TEST(GemmSimt, F32) {
  for (i64 rows : {1, 65}) {
    Layer<float, float, 1> layer(rows, 37, 203);
    for (const char *mode : kModes) {
      layer.clear();
      ASSERT_EQ(launch(mode, simt::gemmSimt, 3, 256, 0, layer.x.data(), layer.weight.data(), rows, tiles(rows, 64, 203, 64), layer.epilogue), "");
      EXPECT_LT(layer.error(), 1e-5) << mode;
    }
  }
}

TEST(Gemv, F32OfAnySize) {
  for (i64 rows : {1, 2, 5}) {
    Layer<float, float, 1> layer(rows, 37, 203);
    for (const char *mode : kModes) {
      layer.clear();
      ASSERT_EQ(launch(mode, gemv_f32::gemvF32, 3, 128, 0, layer.x.data(), layer.weight.data(), rows, i64(203 + 15) / 16, layer.epilogue), "");
      EXPECT_LT(layer.error(), 1e-5) << mode;
    }
  }
}

TEST(Gemv, Bf16Gated) {
  for (i64 rows : {1, 3}) {
    Layer<bf16, bf16, 2> layer(rows, 536, 203);
    for (const char *mode : kModes) {
      layer.clear();
      ASSERT_EQ(launch(mode, gemv_gated::gemvGated, 3, 128, 0, layer.x.data(), layer.weight.data(), layer.weight1.data(), rows, i64(203 + 15) / 16,
                       layer.epilogue),
                "");
      EXPECT_LT(layer.error(), 1e-4) << mode;
    }
  }
}

} // namespace
