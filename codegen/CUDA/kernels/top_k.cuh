//===- top_k.cuh - the k best of rows -------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sorted, equal ones by lower index; what is no number is greater than all numbers. What the rows are computed from is printed from the region. Any target, any
// width. Rows has
//
//   kThreads            of a block, 32 to 1024
//   kMost               at least k
//   kLargest            or the k smallest
//   float load(i64 row, i64 column) const;
//   void store(i64 row, i64 place, float value, i64 column) const;
//
// A candidate's rank is the bits of its number, turned so that better ones are lower, above its index: no two are equal. A row that fits into shared memory is ranked there by
// counting; of a longer one the rank that k candidates do not pass is searched first, eight bits in a pass over the row. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "order.cuh"
#include "vectors.cuh"

template <class Rows>
struct TopK {
  static constexpr int kThreads = Rows::kThreads, kMost = Rows::kMost, kBins = 256;

  struct Shared {
    u64 ranks[kMost];
    u32 count[kBins];
    u64 prefix;
    u32 before, inside; ///< candidates before the chosen interval, and in it
    u32 filled;
  };

  static DEVICE_MEMBER u64 rankOf(float x, i64 column) {
    return u64(Rows::kLargest ? ~orderOf(x) : orderOf(x)) << 32 | u64(column);
  }

  /// Of the first warp: in which interval the number of candidates reaches k. Eight intervals a lane.
  static DEVICE_MEMBER void choose(Shared *shared, u32 k) {
    u32 own = 0;
    UNROLL
    for (int i = 0; i < 8; ++i)
      own += shared->count[laneId() * 8 + i];
    u32 reached = shared->before, all = own;
    UNROLL
    for (u32 distance = 1; distance < 32; distance *= 2) {
      u32 other = shuffleXor(all, distance); // of the neighbouring group
      reached += laneId() & distance ? other : 0;
      all += other;
    }
    bool here = reached < k && reached + own >= k;
    warpSync(); // all have read what is written now
    if (here) {
      int bin = laneId() * 8;
      for (; reached + shared->count[bin] < k; ++bin)
        reached += shared->count[bin];
      shared->before = reached;
      shared->inside = shared->count[bin];
      shared->prefix = shared->prefix << 8 | u32(bin);
    }
  }

  /// The rank that exactly k candidates of the row do not pass.
  static DEVICE_MEMBER u64 search(const Rows &rows, i64 row, i64 width, u32 k, Shared *shared) {
    if (threadIdx.x == 0)
      shared->prefix = shared->before = 0;
    for (int shift = 56;; shift -= 8) {
      for (u32 bin = threadIdx.x; bin < kBins; bin += kThreads)
        shared->count[bin] = 0;
      blockSync();
      u64 prefix = shared->prefix;
      for (i64 column = threadIdx.x; column < width; column += kThreads) {
        u64 rank = rankOf(rows.load(row, column), column);
        if ((shift == 56 ? 0 : rank >> (shift + 8)) == prefix)
          addShared(&shared->count[u32(rank >> shift) % kBins], 1);
      }
      blockSync();
      if (threadIdx.x < 32)
        choose(shared, k);
      blockSync();
      if (shared->before + shared->inside == k || shift == 0)
        return (shared->prefix << shift) + ((u64(1) << shift) - 1);
    }
  }

  static DEVICE_MEMBER void run(const Rows &rows, i64 units, i64 width, i64 k) {
    STATIC_SHARED(Shared, shared, 1);
    waitForDependencies();
    for (i64 row = blockIdx.x; row < units; row += gridDim.x) {
      bool isLong = width > kMost;
      u64 last = isLong ? search(rows, row, width, u32(k), shared) : ~u64(0);
      if (threadIdx.x == 0)
        shared->filled = 0;
      blockSync();
      for (i64 column = threadIdx.x; column < width; column += kThreads)
        if (u64 rank = rankOf(rows.load(row, column), column); rank <= last)
          shared->ranks[isLong ? i64(takeShared(&shared->filled, 1)) : column] = rank;
      blockSync();
      i64 count = isLong ? k : width;
      for (i64 i = threadIdx.x; i < count; i += kThreads) {
        u64 rank = shared->ranks[i];
        i64 place = 0;
        for (i64 other = 0; other < count; ++other)
          place += shared->ranks[other] < rank;
        if (place < k)
          rows.store(row, place, rows.load(row, i64(u32(rank))), i64(u32(rank)));
      }
      blockSync(); // the next row writes there
    }
  }
};
