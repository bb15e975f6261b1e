//===- wgmma_attention.cuh - attention of long steps on Hopper ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What prefill_attention.cuh computes, on sm_90a: one warpgroup brings blocks of the cache by bulk copies through a ring of stages, two multiply, each
// with 64 of the 128 rows. While a block's keys are multiplied with the queries, the weights of the block before are with its values, and the softmax
// of one runs beside the products of the other. Problem as in prefill_attention.cuh, with 128 rows, 12 warps, a cache of 16 bits and
//
//   kKeySize, kValueSize  64 or 128
//   kStages               blocks of keys, and of values, under way
//
// A head's keys of a block lie without gaps, and so do its values: [8 tokens] panels of [kKeySize][8] and [8 features] panels of [64][8]. Eight lines
// are what wgmma takes as a block of 8 by 8, so that a copy needs no tensor map and products no swizzle.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes paged_attention.cuh and prefill_attention.cuh before

template <class Problem>
struct WgmmaAttention {
  typedef PagedAttention<Problem> Base;
  typedef PrefillRows<Problem> Rows;
  typedef typename Base::Operands Operands;
  typedef typename Base::Run Run;
  typedef typename Problem::Cache Cache;
  static constexpr int kRows = 128, kThreads = 384, kStages = Problem::kStages, kD = Problem::kKeySize, kE = Problem::kValueSize, kPartFloats = 0;
  static constexpr int kSteps = kD / 16;
  static constexpr u32 kKeyBytes = 64 * kD * 2, kValueBytes = 64 * kE * 2, kBarriers = kStages * (kKeyBytes + kValueBytes);
  static constexpr u32 kSharedBytes = kBarriers + kStages * 32;
  static_assert(Problem::kRows == kRows && Base::kThreads == kThreads && Problem::kSplits == 1 && sizeof(Cache) == 2);
  static_assert((kD == 64 || kD == 128) && (kE == 64 || kE == 128));

  u32 ring;
  DEVICE_MEMBER u32 keys(u32 i) const { return ring + i * kKeyBytes; }
  DEVICE_MEMBER u32 values(u32 i) const { return ring + kStages * kKeyBytes + i * kValueBytes; }
  DEVICE_MEMBER u32 barrier(u32 kind, u32 i) const { return ring + kBarriers + (kind * kStages + i) * 8; }
  DEVICE_MEMBER u32 fullKeys(u32 i) const { return barrier(0, i); }
  DEVICE_MEMBER u32 fullValues(u32 i) const { return barrier(1, i); }
  DEVICE_MEMBER u32 emptyKeys(u32 i) const { return barrier(2, i); }
  DEVICE_MEMBER u32 emptyValues(u32 i) const { return barrier(3, i); }

  DEVICE_MEMBER static i64 units(i64 tokens) { return Base::units(tokens); }

  typedef RingCursor<kStages> Cursor;
  /// Blocks of the cache that the rows of a chunk see.
  struct Blocks {
    i32 low, end;
  };
  static DEVICE_MEMBER Blocks blocksOf(const Run &run) {
    int last = run.rows - run.firstRow < kRows ? run.rows - run.firstRow - 1 : kRows - 1; // rows are in the order of their tokens
    return {i32(run.low(0) / 64), i32((run.high(last) + 63) / 64)};
  }

  DEVICE_MEMBER void produce(const Run &run, Cursor &at, const Operands &operands) const {
    Blocks blocks = blocksOf(run);
    for (i32 block = blocks.low; block < blocks.end; ++block, at.next()) {
      const Cache *head = operands.cache + run.blocks[run.sequence.table + block] * Base::kBlockSize + run.head * Base::kHeadSize;
      mbarrierWait(emptyKeys(at.stage), at.parity ^ 1); // a new ring is empty
      mbarrierExpect(fullKeys(at.stage), kKeyBytes);
      bulkLoad(keys(at.stage), head, kKeyBytes, fullKeys(at.stage));
      mbarrierWait(emptyValues(at.stage), at.parity ^ 1);
      mbarrierExpect(fullValues(at.stage), kValueBytes);
      bulkLoad(values(at.stage), head + 64 * kD, kValueBytes, fullValues(at.stage));
    }
  }

  static DEVICE_MEMBER void release(u32 barrier) {
    if (laneId() == 0)
      mbarrierArrive(barrier);
  }
  /// scores = queries * keys^T.
  DEVICE_MEMBER void multiplyKeys(float (&scores)[32], const u32 (&queries)[kSteps][4], u32 stage) const {
    UNROLL
    for (int step = 0; step < kSteps; ++step)
      wgmmaTransposed(Cache(), scores, queries[step], descriptorBlocks(keys(stage) + step * 256, 128, kD * 16), step != 0);
    wgmmaCommit();
  }
  /// sums += weights * values.
  DEVICE_MEMBER void multiplyValues(float (&sums)[kE / 2], const u32 (&weights)[4][4], u32 stage) const {
    UNROLL
    for (int step = 0; step < 4; ++step)
      wgmmaTransposed(Cache(), sums, weights[step], descriptorBlocks(values(stage) + step * 256, 128, 1024), true);
    wgmmaCommit();
  }
  /// Values that nobody wrote become zero: zero times what is no number would be none.
  DEVICE_MEMBER void clearValues(u32 stage, i32 written) const {
    i32 lines = 64 - written;
    for (i32 i = threadIdx.x; i < lines * (kE / 8); i += 256)
      storeShared128(values(stage) + u32(i / lines * 64 + written + i % lines) * 16, Vector128{0, 0, 0, 0});
    fenceAsyncProxy();
    barrierSync<1, 256>(); // both consuming warpgroups
  }

  static DEVICE_MEMBER void pack(const float (&scores)[32], u32 (&weights)[4][4]) {
    UNROLL
    for (int i = 0; i < 16; ++i)
      weights[i / 4][i % 4] = packPair(Cache(), scores[i * 2], scores[i * 2 + 1]);
  }
  static DEVICE_MEMBER void rescale(float (&sums)[kE / 2], const float (&shrink)[2]) {
    UNROLL
    for (int i = 0; i < kE / 2; ++i)
      sums[i] *= shrink[i / 2 % 2];
  }
  static DEVICE_MEMBER void weigh(typename Rows::Row (&rows)[2], i32 block, float (&scores)[32], float (&shrink)[2], const Operands &operands) {
    UNROLL
    for (int half = 0; half < 2; ++half)
      shrink[half] = Rows::weigh(rows[half], block * 64, [&](int i) INLINE_LAMBDA -> float & { return scores[i / 2 * 4 + half * 2 + i % 2]; }, operands);
  }

  DEVICE_MEMBER void consume(const Run &run, Cursor &atKeys, Cursor &atValues, const Operands &operands) const {
    Blocks blocks = blocksOf(run);
    int first = threadIdx.x / 32 * 16 + laneId() / 4;
    typename Rows::Row rows[2] = {Rows::rowOf(run, first), Rows::rowOf(run, first + 8)};
    u32 queries[kSteps][4];
    UNROLL
    for (int half = 0; half < 2; ++half)
      Rows::template loadQueries<kSteps>(run, rows[half], half, queries, operands);
    float sums[kE / 2], scores[32], shrink[2];
    u32 weights[4][4];
    UNROLL
    for (float &sum : sums)
      sum = 0;
    if (blocks.low < blocks.end) {
      mbarrierWait(fullKeys(atKeys.stage), atKeys.parity);
      wgmmaFence();
      multiplyKeys(scores, queries, atKeys.stage);
      wgmmaWait<0>();
      release(emptyKeys(atKeys.stage));
      atKeys.next();
      weigh(rows, blocks.low, scores, shrink, operands);
      pack(scores, weights);
      for (i32 block = blocks.low + 1; block < blocks.end; ++block) {
        mbarrierWait(fullKeys(atKeys.stage), atKeys.parity);
        wgmmaFence();
        multiplyKeys(scores, queries, atKeys.stage);
        mbarrierWait(fullValues(atValues.stage), atValues.parity);
        wgmmaFence();
        multiplyValues(sums, weights, atValues.stage);
        wgmmaWait<1>(); // the scores are there, the products with values go on
        release(emptyKeys(atKeys.stage));
        atKeys.next();
        weigh(rows, block, scores, shrink, operands);
        wgmmaWait<0>();
        release(emptyValues(atValues.stage));
        atValues.next();
        rescale(sums, shrink);
        pack(scores, weights);
      }
      mbarrierWait(fullValues(atValues.stage), atValues.parity);
      if (i32 written = i32(run.sequence.length) - (blocks.end - 1) * 64; written < 64)
        clearValues(atValues.stage, written);
      wgmmaFence();
      multiplyValues(sums, weights, atValues.stage);
      wgmmaWait<0>();
      release(emptyValues(atValues.stage));
      atValues.next();
    }
    UNROLL
    for (int half = 0; half < 2; ++half)
      Rows::storeRow(run, rows[half], [&](int i) INLINE_LAMBDA { return sums[i / 2 * 4 + half * 2 + i % 2]; }, operands);
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const StepTable *table, i64 units, const Operands &operands) {
    WgmmaAttention attention{sharedAddress(smem)};
    if (threadIdx.x == 0) {
      for (u32 i = 0; i < kStages; ++i) {
        mbarrierInit(attention.fullKeys(i), 1);
        mbarrierInit(attention.fullValues(i), 1);
        mbarrierInit(attention.emptyKeys(i), 8); // a lane of each consuming warp
        mbarrierInit(attention.emptyValues(i), 8);
      }
      fenceMbarrierInit();
    }
    blockSync();
    Cursor keys, values;
    if (threadIdx.x / 128 == 2) {
      lowerRegisters<40>();
      if (threadIdx.x % 128 == 0)
        Base::forEachRun(table, units, [&](const Run &run, int, i64) INLINE_LAMBDA { attention.produce(run, keys, operands); });
    } else {
      raiseRegisters<232>();
      Base::forEachRun(table, units, [&](const Run &run, int, i64) INLINE_LAMBDA { attention.consume(run, keys, values, operands); });
    }
  }
};
