//===- PrefillAttentionTest.cpp - attention of prompts, emulated ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Queries, keys, weights and values are rounded to 16 bits on the way, so that errors are some 2^-9 of what is added up.
//
//===----------------------------------------------------------------------===//
#include "PagedData.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/trigonometry.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

struct Causal { // three heads share keys; sizes that are no multiple of 16
  typedef float Cache;
  typedef bf16 Product;
  typedef i64 Position;
  static constexpr int kHeads = 6, kKvHeads = 2, kKeySize = 24, kValueSize = 20, kTileTokens = 21, kRows = 64, kWarps = 4, kSplits = 1, kTable = 0;
  static constexpr int kWindow = 0, kPairs = 8, kBiasWidth = 0;
  static constexpr bool kCausal = true, kInterleaved = false;
  DEVICE_MEMBER static constexpr float scale() { return 0.2f; }
  DEVICE_MEMBER static constexpr float softcap() { return 0; }
  DEVICE_MEMBER static constexpr float ropeScale() { return 1; }
};
struct Windowed : Causal { // more rows than a block has: a chunk each
  typedef f16 Product;
  static constexpr int kHeads = 5, kKvHeads = 1, kKeySize = 7, kValueSize = 33, kTileTokens = 14, kPairs = 0, kWindow = 50;
};
struct Capped : Causal {
  typedef f16 Product;
  static constexpr int kHeads = 2, kKvHeads = 2, kKeySize = 128, kValueSize = 128, kTileTokens = 64, kPairs = 12, kBiasWidth = 61;
  static constexpr bool kCausal = false, kInterleaved = true;
  DEVICE_MEMBER static constexpr float softcap() { return 1.5f; }
  DEVICE_MEMBER static constexpr float ropeScale() { return 1.25f; }
};
struct Narrow : Causal { // the cache in 16 bits
  typedef bf16 Cache;
};
struct NarrowWindowed : Windowed {
  typedef f16 Cache;
};

#include "codegen/CUDA/kernels/running_softmax.cuh"
#include "codegen/CUDA/kernels/paged_attention.cuh"
#include "codegen/CUDA/kernels/prefill_attention.cuh"

namespace late_wait { // injected: a wait for one group of copies too few
template <u32 kNewest>
void waitForOneLess() {
  copyAsyncWait<kNewest == 0 ? 0 : kNewest + 1>();
}
#define copyAsyncWait waitForOneLess
#include "codegen/CUDA/kernels/prefill_attention.cuh"
#undef copyAsyncWait
} // namespace late_wait

namespace no_barrier { // injected: keys are overwritten while other warps read them
#define blockSync()
#include "codegen/CUDA/kernels/prefill_attention.cuh"
#undef blockSync
} // namespace no_barrier

namespace beyond { // injected: copies end beyond shared memory
#define copyAsync16(shared, global, bytes) copyAsync16((shared) + 16, global, bytes)
#include "codegen/CUDA/kernels/prefill_attention.cuh"
#undef copyAsync16
} // namespace beyond

TEST(PrefillAttention, RaggedWithRope) { EXPECT_LT((worstError<PrefillAttention<Causal>, Causal>({{0, 3}, {60, 40}, {99, 1}, {0, 69}})), 0.02); }
TEST(PrefillAttention, WindowInChunks) { EXPECT_LT((worstError<PrefillAttention<Windowed>, Windowed>({{130, 33}, {0, 64}})), 0.003); }
TEST(PrefillAttention, CappedWithBias) { EXPECT_LT((worstError<PrefillAttention<Capped>, Capped>({{0, 5}, {70, 67}})), 0.003); }
TEST(PrefillAttention, From16Bits) {
  EXPECT_LT((worstError<PrefillAttention<Narrow>, Narrow>({{0, 3}, {60, 40}, {99, 1}, {0, 69}})), 0.02);
  EXPECT_LT((worstError<PrefillAttention<NarrowWindowed>, NarrowWindowed>({{130, 33}, {0, 64}})), 0.003);
}
TEST(PrefillAttention, SlopesAndSinks) { EXPECT_LT((worstError<PrefillAttention<Causal>, Causal>({{65, 23}, {3, 1}}, true)), 0.02); }

TEST(PrefillAttention, InjectedErrorsAreCaught) {
  auto caught = [](double error) { return !(error < 0.05); };
  EXPECT_FALSE(caught(worstError<PrefillAttention<Causal>, Causal>({{130, 33}})));
  EXPECT_TRUE(caught(worstError<late_wait::PrefillAttention<Causal>, Causal>({{130, 33}})));
  EXPECT_TRUE(caught(worstError<no_barrier::PrefillAttention<Causal>, Causal>({{130, 33}})));
  EXPECT_TRUE(caught(worstError<late_wait::PrefillAttention<Narrow>, Narrow>({{130, 33}})));
  EXPECT_TRUE(caught(worstError<no_barrier::PrefillAttention<Narrow>, Narrow>({{130, 33}})));
  EXPECT_NE((runStep<beyond::PrefillAttention<Causal>, Causal>({{130, 33}}).second), "");
}

} // namespace
