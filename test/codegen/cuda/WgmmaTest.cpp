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

template <class Family, class Epilogue>
void entry(const TensorMap x, i64 rows, i64 units, const Epilogue epilogue) {
  SHARED_MEMORY(smem);
  Family().run(smem, &x, rows, units, epilogue);
}

template <class Family, class Data>
std::string run(const char *mode, Data &data, TensorMap x) {
  data.clear();
  return launch(mode, entry<Family, typename Data::Epilogue>, 2, Family::kThreads, Family::kSharedBytes, x, data.rows, Family::units(data.rows),
                data.epilogue);
}

template <class Input, class Weight, int kDepth, int kTileN, int kProducts = 1, int kSegments = 1>
void check(double tolerance) {
  typedef Data<Input, Weight, kDepth, kProducts, 101, kSegments> TestData;
  for (i64 rows : {3, 131}) {
    TestData data(rows);
    TensorMap x = data.makeMaps(128, kTileN);
    for (const char *mode : kModes) {
      ASSERT_EQ((run<GemmWgmma<Layer<Input, Weight, kDepth, kTileN>, typename TestData::Epilogue>>(mode, data, x)), "") << mode;
      EXPECT_LT(data.error(true), tolerance) << mode << ", rows " << rows;
    }
  }
}

TEST(GemmWgmma, Bf16) { check<bf16, bf16, 328, 64>(1e-5); }
TEST(GemmWgmma, F32RoundedToBf16) { check<float, bf16, 200, 64>(1e-5); }
TEST(GemmWgmma, F16Gated) { check<f16, f16, 136, 32, 2>(1e-5); }
TEST(GemmWgmma, F32RoundedToF16InSegments) { check<float, f16, 72, 64, 1, 2>(1e-5); }
TEST(GemmWgmma, I8) { check<i8, i8, 272, 64>(1e-6); }
TEST(GemmWgmma, UnsignedTimesSignedBytes) { check<u8, i8, 272, 64>(1e-6); }
TEST(GemmWgmma, E4m3) { check<e4m3, e4m3, 272, 32>(1e-5); }

TEST(GemmWgmma, InjectedErrorsAreCaught) {
  typedef Data<bf16, bf16, 328, 1, 101> TestData;
  typedef Layer<bf16, bf16, 328, 64> TestLayer;
  TestData data(131);
  TensorMap x = data.makeMaps(128, 64);
  auto caught = [&](auto family) {
    for (const char *mode : kModes)
      if (run<decltype(family)>(mode, data, x) != "" || data.error(true) > 0.1)
        return true;
    return false;
  };
  EXPECT_FALSE(caught(GemmWgmma<TestLayer, TestData::Epilogue>()));
  EXPECT_TRUE(caught(wrong_parity::GemmWgmma<TestLayer, TestData::Epilogue>()));
  EXPECT_TRUE(caught(early_release::GemmWgmma<TestLayer, TestData::Epilogue>()));
  EXPECT_TRUE(caught(no_barrier::GemmWgmma<TestLayer, TestData::Epilogue>()));
  EXPECT_TRUE(caught(beyond::GemmWgmma<TestLayer, TestData::Epilogue>()));
}

} // namespace
