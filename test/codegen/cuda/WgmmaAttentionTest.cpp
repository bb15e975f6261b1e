//===- WgmmaAttentionTest.cpp - attention of prompts on Hopper, emulated --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "PagedData.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/running_softmax.cuh"
#include "codegen/CUDA/kernels/trigonometry.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

struct Causal { // three heads share keys, so that the last rows of a block are none
  typedef f16 Cache;
  typedef f16 Product;
  typedef i64 Position;
  static constexpr int kHeads = 3, kKvHeads = 1, kKeySize = 64, kValueSize = 64, kTileTokens = 42, kRows = 128, kWarps = 12, kSplits = 1, kTable = 0;
  static constexpr int kWindow = 0, kPairs = 8, kBiasWidth = 0, kStages = 2;
  static constexpr bool kCausal = true, kInterleaved = false;
  DEVICE_MEMBER static constexpr float scale() { return 0.1f; }
  DEVICE_MEMBER static constexpr float softcap() { return 0; }
  DEVICE_MEMBER static constexpr float ropeScale() { return 1; }
};
struct Windowed : Causal {
  typedef bf16 Cache;
  typedef bf16 Product;
  static constexpr int kHeads = 2, kKvHeads = 2, kValueSize = 128, kTileTokens = 128, kWindow = 50, kPairs = 0, kStages = 3;
};
struct Capped : Causal {
  static constexpr int kHeads = 1, kKeySize = 128, kTileTokens = 128, kPairs = 64, kBiasWidth = 61;
  static constexpr bool kCausal = false, kInterleaved = true;
  DEVICE_MEMBER static constexpr float softcap() { return 1.5f; }
};

#include "codegen/CUDA/kernels/paged_attention.cuh"
#include "codegen/CUDA/kernels/prefill_attention.cuh"
#include "codegen/CUDA/kernels/wgmma_attention.cuh"

namespace wrong_parity { // injected: the producer waits for the phase that is complete anyway
#define mbarrierWait(barrier, parity) mbarrierWait(barrier, 1 ^ (parity))
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef mbarrierWait
} // namespace wrong_parity

namespace no_wait { // injected: what arrives is not waited for
void goOn(u32, u32) {}
#define mbarrierWait goOn
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef mbarrierWait
} // namespace no_wait

namespace late_wait { // injected: a wait for one group of products too few
template <u32 kNewest>
void waitForOneLess() {
  wgmmaWait<kNewest + 1>();
}
#define wgmmaWait waitForOneLess
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef wgmmaWait
} // namespace late_wait

namespace no_clearing { // injected: values that nobody wrote stay
#define storeShared128(...)
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef storeShared128
} // namespace no_clearing

namespace early_release { // injected: a stage is given back before its products are done
#define wgmmaFence() (wgmmaFence(), release(emptyKeys(atKeys.stage)))
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef wgmmaFence
} // namespace early_release

namespace beyond { // injected: copies end beyond shared memory
#define bulkLoad(shared, global, bytes, barrier) bulkLoad((shared) + 65536, global, bytes, barrier)
#include "codegen/CUDA/kernels/wgmma_attention.cuh"
#undef bulkLoad
} // namespace beyond

TEST(WgmmaAttention, RaggedWithRope) { EXPECT_LT((worstError<WgmmaAttention<Causal>, Causal>({{0, 3}, {60, 40}, {199, 1}, {0, 69}})), 0.003); }
TEST(WgmmaAttention, WindowOfWideValues) { EXPECT_LT((worstError<WgmmaAttention<Windowed>, Windowed>({{130, 33}, {0, 129}})), 0.02); }
TEST(WgmmaAttention, CappedWithBias) { EXPECT_LT((worstError<WgmmaAttention<Capped>, Capped>({{0, 5}, {70, 67}})), 0.003); }
TEST(WgmmaAttention, SlopesAndSinks) { EXPECT_LT((worstError<WgmmaAttention<Causal>, Causal>({{65, 23}, {3, 1}}, true)), 0.003); }

TEST(WgmmaAttention, InjectedErrorsAreCaught) {
  const std::vector<std::pair<u32, u32>> step = {{330, 41}};
  auto caught = [&](auto run) { // by a wrong number or by a complaint
    auto [error, complaint] = run;
    return !complaint.empty() || !(error < 0.01);
  };
  EXPECT_FALSE(caught(runStep<WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_TRUE(caught(runStep<wrong_parity::WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_TRUE(caught(runStep<no_wait::WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_TRUE(caught(runStep<late_wait::WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_TRUE(caught(runStep<no_clearing::WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_TRUE(caught(runStep<early_release::WgmmaAttention<Causal>, Causal>(step)));
  EXPECT_NE((runStep<beyond::WgmmaAttention<Causal>, Causal>(step).second), "");
}

} // namespace
