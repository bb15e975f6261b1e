//===- WgmmaTest.cpp - linear layers on Hopper, emulated ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LinearData.h"

#include "codegen/CUDA/kernels/fragments.cuh"

using namespace llmopt::test;

namespace {

template <class InputType, class WeightType, int kSize, int kColumns>
struct Layer {
  typedef InputType Input;
  typedef WeightType Weight;
  static constexpr int kDepth = kSize, kTileN = kColumns, kStages = 2;
};

#include "codegen/CUDA/kernels/gemm_wgmma.cuh"

namespace wrong_parity { // injected: the consumers look at the wrong bit of the phase
#define mbarrierWait(barrier, parity) mbarrierWait(barrier, (parity) ^ (threadIdx.x < 256))
#include "codegen/CUDA/kernels/gemm_wgmma.cuh"
#undef mbarrierWait
} // namespace wrong_parity

namespace early_release { // injected: a stage is given back while its products are in flight
template <u32 kNewest>
void waitForOneLess() {
  wgmmaWait<kNewest + 1>();
}
#define wgmmaWait waitForOneLess
#include "codegen/CUDA/kernels/gemm_wgmma.cuh"
#undef wgmmaWait
} // namespace early_release

namespace no_barrier { // injected: barriers are used before they are made
#define blockSync()
#include "codegen/CUDA/kernels/gemm_wgmma.cuh"
#undef blockSync
} // namespace no_barrier

namespace beyond { // injected: copies end beyond shared memory
#define tmaLoad2(shared, map, barrier, x, y) tmaLoad2((shared) + kStages * kStageBytes, map, barrier, x, y)
#include "codegen/CUDA/kernels/gemm_wgmma.cuh"
#undef tmaLoad2
} // namespace beyond

/// With the map that x is read by.
template <class Input, class Weight, int kDepth, int kProducts, int kColumns, int kSegments = 1>
struct MappedData : Data<Input, Weight, kDepth, kProducts, kColumns, kSegments> {
  TensorMap xMap;
  MappedData(i64 rows, int tileN) : Data<Input, Weight, kDepth, kProducts, kColumns, kSegments>(rows), xMap(this->makeMaps(128, tileN)) {}
  auto operands(i64 units) const { return std::tuple(xMap, this->rows, units, this->epilogue); }
};

template <class Input, class Weight, int kDepth, int kTileN, int kProducts = 1, int kSegments = 1>
void check(double tolerance) {
  typedef MappedData<Input, Weight, kDepth, kProducts, 101, kSegments> TestData;
  for (i64 rows : {3, 131}) {
    TestData data(rows, kTileN);
    EXPECT_LT((worstError<GemmWgmma<Layer<Input, Weight, kDepth, kTileN>, typename TestData::Epilogue>>(data, 2, true)), tolerance) << "rows " << rows;
  }
}

TEST(GemmWgmma, Bf16) { check<bf16, bf16, 328, 64>(1e-5); }
TEST(GemmWgmma, F32RoundedToBf16) { check<float, bf16, 200, 64>(1e-5); }
TEST(GemmWgmma, F16Gated) { check<f16, f16, 136, 32, 2>(1e-5); }
TEST(GemmWgmma, F32RoundedToF16InSegments) { check<float, f16, 72, 64, 1, 2>(1e-5); }
TEST(GemmWgmma, I8) { check<i8, i8, 272, 64>(1e-6); }
TEST(GemmWgmma, UnsignedTimesSignedBytes) { check<u8, i8, 272, 64>(1e-6); }
TEST(GemmWgmma, E4m3) { check<e4m3, e4m3, 272, 32>(1e-5); }
TEST(GemmWgmma, E4m3GatedInSegments) { check<e4m3, e4m3, 144, 64, 2, 2>(1e-5); }

TEST(GemmWgmma, InjectedErrorsAreCaught) {
  typedef MappedData<bf16, bf16, 328, 1, 101> TestData;
  typedef Layer<bf16, bf16, 328, 64> TestLayer;
  TestData data(131, 64);
  EXPECT_FALSE((isCaught<GemmWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<wrong_parity::GemmWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<early_release::GemmWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<no_barrier::GemmWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<beyond::GemmWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
}

} // namespace
