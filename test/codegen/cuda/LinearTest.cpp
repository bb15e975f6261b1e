//===- LinearTest.cpp - products of a linear layer, emulated --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LinearData.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

#include <gtest/gtest-spi.h>

using namespace llmopt::test;

namespace {

template <class InputType, class WeightType, int kSize, bool kInPanels = false>
struct Layer {
  static constexpr bool kPanels = kInPanels;
  typedef InputType Input;
  typedef WeightType Weight;
  static constexpr int kDepth = kSize, kTileM = 64, kTileN = 64, kStages = 3, kWarpsM = 2, kWarpsN = 2, kSplits = 3;
};
template <class InputType, class WeightType, int kSize>
struct FewRows {
  typedef InputType Input;
  typedef WeightType Weight;
  static constexpr int kDepth = kSize, kRows = 2, kWarps = 4;
};

#include "codegen/CUDA/kernels/gemm_mma.cuh"
#include "codegen/CUDA/kernels/gemm_split.cuh"
#include "codegen/CUDA/kernels/gemm_simt.cuh"
#include "codegen/CUDA/kernels/gemv.cuh"

namespace mma_no_barrier { // injected: a barrier is missing
#define blockSync()
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#undef blockSync
} // namespace mma_no_barrier

namespace mma_short_wait { // injected: waits for one group too few
template <u32 kNewest>
void waitForOneLess() {
  copyAsyncWait < kNewest ? kNewest + 1 : 0 > ();
}
#define copyAsyncWait waitForOneLess
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#undef copyAsyncWait
} // namespace mma_short_wait

template <class Input, class Weight, int kDepth, int kProducts, int kSegments, bool kPanels = false>
void checkMma(double tolerance) {
  typedef Data<Input, Weight, kDepth, kProducts, 167, kSegments> TestData;
  for (i64 rows : {1, 63, 131}) {
    TestData data(rows);
    if constexpr (kPanels)
      data.usePanels();
    EXPECT_LT((worstError<GemmMma<Layer<Input, Weight, kDepth, kPanels>, typename TestData::Epilogue>>(data, 5, true)), tolerance) << "rows " << rows;
  }
}
TEST(GemmMma, Bf16) { checkMma<bf16, bf16, 136, 1, 1>(1e-5); }
TEST(GemmMma, F32RoundedToBf16) { checkMma<float, bf16, 136, 1, 1>(1e-5); }
TEST(GemmMma, F32TimesPanelsOfBf16) { checkMma<float, bf16, 140, 1, 2, true>(1e-5); }
TEST(GemmMma, F32TimesPanelsOfF16Gated) { checkMma<float, f16, 76, 2, 1, true>(1e-5); }
TEST(GemmMma, F16Gated) { checkMma<f16, f16, 136, 2, 1>(1e-5); }
TEST(GemmMma, F32RoundedToF16InSegments) { checkMma<float, f16, 72, 1, 2>(1e-5); }
TEST(GemmMma, I8) { checkMma<i8, i8, 176, 1, 1>(1e-6); }
TEST(GemmMma, BytesTimesPanelsInSegments) { checkMma<u8, i8, 176, 1, 2, true>(1e-6); }
TEST(GemmMma, F32AsThreeProductsOfTf32) { checkMma<float, float, 76, 1, 1, true>(2e-6); }
TEST(GemmMma, F32Gated) { checkMma<float, float, 140, 2, 1, true>(1e-5); }
TEST(GemmMma, E4m3) { checkMma<e4m3, e4m3, 176, 1, 1>(1e-5); }
TEST(GemmMma, E4m3TimesPanelsInSegments) { checkMma<e4m3, e4m3, 176, 1, 2, true>(1e-5); }

namespace split_no_counter { // injected: nobody knows that others have arrived
#define addCounter(counter, value) (u32(kSplits - 1) + u32(0) * *(counter))
#include "codegen/CUDA/kernels/gemm_split.cuh"
#undef addCounter
} // namespace split_no_counter

/// Twice in a row: the counters have to be zero again.
template <class Family, class Data>
double splitError(Data &data, unsigned blocks) {
  i64 units = Family::units(data.rows);
  Buffer<typename Family::Sum> parts(units * Family::kSums * Family::kThreads, NAN);
  Buffer<u32> counters(units / Family::kSplits);
  return worstError<Family>(data, blocks, true, parts.data(), counters.data());
}

template <class Input, class Weight, int kDepth, int kProducts, int kSegments>
void checkSplit(double tolerance) {
  typedef Data<Input, Weight, kDepth, kProducts, 101, kSegments> TestData;
  for (i64 rows : {1, 33, 70}) {
    TestData data(rows);
    data.usePanels();
    EXPECT_LT((splitError<GemmSplit<Layer<Input, Weight, kDepth, true>, typename TestData::Epilogue>>(data, 5)), tolerance) << "rows " << rows;
  }
}
TEST(GemmSplit, F32TimesPanelsOfBf16InSegments) { checkSplit<float, bf16, 460, 1, 2>(1e-5); }
TEST(GemmSplit, F32TimesPanelsOfF16Gated) { checkSplit<float, f16, 196, 2, 1>(1e-5); }
TEST(GemmSplit, BytesTimesPanels) { checkSplit<u8, i8, 464, 1, 1>(1e-6); }
TEST(GemmSplit, E4m3TimesPanelsGated) { checkSplit<e4m3, e4m3, 464, 2, 1>(1e-5); }
TEST(GemmSplit, InjectedErrorsAreCaught) {
  typedef Data<float, bf16, 460, 1, 101> TestData;
  typedef Layer<float, bf16, 460, true> TestLayer;
  TestData data(33);
  data.usePanels();
  EXPECT_LT((splitError<GemmSplit<TestLayer, TestData::Epilogue>>(data, 2)), 1e-5);
  testing::TestPartResultArray complaints; // an output written twice is one
  testing::ScopedFakeTestPartResultReporter reporter(testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &complaints);
  double error = splitError<split_no_counter::GemmSplit<TestLayer, TestData::Epilogue>>(data, 2);
  EXPECT_TRUE(complaints.size() > 0 || !(error < 0.1));
}

TEST(GemmMma, InjectedErrorsAreCaught) {
  typedef Data<bf16, bf16, 264, 1, 167> TestData;
  typedef Layer<bf16, bf16, 264> TestLayer;
  TestData data(64);
  EXPECT_LT((worstError<GemmMma<TestLayer, TestData::Epilogue>>(data, 1, true)), 1e-5);
  EXPECT_GT((worstError<mma_no_barrier::GemmMma<TestLayer, TestData::Epilogue>>(data, 1, true)), 0.1);
  EXPECT_GT((worstError<mma_short_wait::GemmMma<TestLayer, TestData::Epilogue>>(data, 1, true)), 0.1);
}

TEST(GemmMma, ReadingBeyondWeightsIsAFault) {
  typedef Data<bf16, bf16, 136, 1, 167> TestData;
  TestData data(64, /*missing=*/1);
  EXPECT_DEATH((worstError<GemmMma<Layer<bf16, bf16, 136>, TestData::Epilogue>>(data, 1, true)), "");
}

template <class Family, class Data>
void checkPanels(int rows, double tolerance) {
  Data data(rows);
  data.usePanels();
  EXPECT_LT(worstError<Family>(data, 3, false), tolerance) << "rows " << rows;
}
template <class Weight, int kDepth, int kProducts, int kSegments, class Input = float>
void checkSimt(double tolerance) {
  typedef Data<Input, Weight, kDepth, kProducts, 167, kSegments> TestData;
  for (int rows : {1, 65})
    checkPanels<GemmSimt<Layer<Input, Weight, kDepth>, typename TestData::Epilogue>, TestData>(rows, tolerance);
}
TEST(GemmSimt, F32) { checkSimt<float, 37, 1, 2>(1e-5); }
TEST(GemmSimt, Bf16OfOddDepth) { checkSimt<bf16, 37, 2, 1>(1e-5); }
TEST(GemmSimt, E4m3OfOddDepth) { checkSimt<e4m3, 37, 1, 2, e4m3>(1e-5); }

template <class Input, class Weight, int kDepth, int kProducts, int kSegments>
void checkGemv(double tolerance) {
  typedef Data<Input, Weight, kDepth, kProducts, 167, kSegments> TestData;
  for (int rows : {1, 2, 5})
    checkPanels<Gemv<FewRows<Input, Weight, kDepth>, typename TestData::Epilogue>, TestData>(rows, tolerance);
}
TEST(Gemv, F32OfOddDepth) { checkGemv<float, float, 37, 1, 2>(1e-5); }
TEST(Gemv, Bf16OfOddDepthGated) { checkGemv<float, bf16, 523, 2, 1>(1e-4); }
TEST(Gemv, BytesOfOddDepthGated) { checkGemv<u8, i8, 523, 2, 1>(1e-6); }
TEST(Gemv, BytesInSegments) { checkGemv<u8, i8, 136, 1, 2>(1e-6); }
TEST(Gemv, E4m3OfOddDepthGated) { checkGemv<e4m3, e4m3, 523, 2, 1>(1e-4); }
TEST(Gemv, E4m3InSegments) { checkGemv<e4m3, e4m3, 136, 1, 2>(1e-5); }
TEST(Gemv, F16) { checkGemv<f16, f16, 130, 1, 1>(1e-4); }

} // namespace
