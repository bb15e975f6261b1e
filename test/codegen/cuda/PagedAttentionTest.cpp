//===- PagedAttentionTest.cpp - attention over the cache, emulated --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "PagedData.h"

#include "codegen/CUDA/kernels/trigonometry.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

struct Decode { // one token a sequence, several blocks for long ones
  typedef float Cache;
  typedef i64 Position;
  static constexpr int kHeads = 6, kKvHeads = 2, kKeySize = 24, kValueSize = 20, kTileTokens = 1, kRows = 4, kWarps = 2, kSplits = 4, kTable = 0, kWindow = 0;
  static constexpr int kPairs = 0, kBiasWidth = 0;
  static constexpr bool kCausal = true, kInterleaved = false;
  DEVICE_MEMBER static constexpr float scale() { return 0.2f; }
  DEVICE_MEMBER static constexpr float softcap() { return 0; }
  DEVICE_MEMBER static constexpr float ropeScale() { return 1; }
};
struct NarrowDecode : Decode {
  typedef f16 Cache;
};
struct Prompt : Decode { // tokens of several sequences in a tile, more rows than a chunk, rotated
  static constexpr int kTileTokens = 4, kRows = 2, kSplits = 1, kPairs = 8, kWindow = 70;
};
struct Capped : Prompt {
  typedef bf16 Cache;
  static constexpr int kPairs = 12, kWindow = 0, kBiasWidth = 61;
  static constexpr bool kInterleaved = true, kCausal = false;
  DEVICE_MEMBER static constexpr float softcap() { return 1.5f; }
  DEVICE_MEMBER static constexpr float ropeScale() { return 1.25f; }
};

#include "codegen/CUDA/kernels/paged_attention.cuh"

namespace no_warp_sync { // injected: weights are read before all lanes have written theirs
#define warpSync()
#include "codegen/CUDA/kernels/paged_attention.cuh"
#undef warpSync
} // namespace no_warp_sync

namespace no_reset { // injected: blocks of one result do not see each other
#define addCounter(counter, value) (u32(0) * *(counter))
#include "codegen/CUDA/kernels/paged_attention.cuh"
#undef addCounter
} // namespace no_reset

TEST(PagedAttention, Decode) {
  EXPECT_LT((worstError<PagedAttention<Decode>, Decode>({{0, 1}, {15, 1}, {16, 1}, {64, 1}, {700, 1}, {333, 1}})), 1e-5);
}
TEST(PagedAttention, DecodeFrom16Bits) { EXPECT_LT((worstError<PagedAttention<NarrowDecode>, NarrowDecode>({{0, 1}, {15, 1}, {64, 1}, {333, 1}})), 1e-5); }
TEST(PagedAttention, DecodeWithSlopesAndSinks) { EXPECT_LT((worstError<PagedAttention<Decode>, Decode>({{333, 1}, {3, 1}}, true)), 1e-5); }
TEST(PagedAttention, PromptWithRopeAndWindow) {
  EXPECT_LT((worstError<PagedAttention<Prompt>, Prompt>({{0, 3}, {60, 2}, {99, 1}, {0, 69}})), 1e-5);
}
TEST(PagedAttention, CappedBf16WithBias) { EXPECT_LT((worstError<PagedAttention<Capped>, Capped>({{0, 5}, {70, 7}})), 1e-5); }

TEST(PagedAttention, InjectedErrorsAreCaught) {
  EXPECT_GT((worstError<no_warp_sync::PagedAttention<Prompt>, Prompt>({{60, 9}})), 0.01);
  EXPECT_GT((worstError<no_reset::PagedAttention<Decode>, Decode>({{700, 1}})), 0.01);
}

TEST(Trigonometry, AsTheHostHasIt) {
  Error sine, cosine, tangent;
  for (float x = 1e-4f; x < 2e6f; x *= 1.01f)
    for (float angle : {x, -x}) {
      SineCosine both = sineCosine(angle);
      sine.add(both.sine, sin(double(angle)));
      cosine.add(both.cosine, cos(double(angle)));
      tangent.add(tanhExact(angle), tanh(double(angle)));
    }
  EXPECT_LT(sine.worst(), 2e-7);
  EXPECT_LT(cosine.worst(), 2e-7);
  EXPECT_LT(tangent.worst(), 3e-7);
}

} // namespace
