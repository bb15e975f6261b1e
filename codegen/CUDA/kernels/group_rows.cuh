//===- group_rows.cuh - rows of a routed layer, sorted by expert ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stable counting sort by one block: a warp takes every kWarps-th expert and goes through all rows twice, 32 at a time, first to count
// those of its experts and then to place them. Any target. Problem has
//
//   Index               i32 or i64, of `chosen`
//   kExperts            numbers outside of 0 .. kExperts - 1 are clamped
//   kThreads            of the block
//
//===----------------------------------------------------------------------===//
#include "vectors.cuh"

template <class Problem>
struct GroupRows {
  static constexpr int kExperts = Problem::kExperts, kThreads = Problem::kThreads, kWarps = kThreads / 32;
  typedef typename Problem::Index Index;

  static DEVICE_MEMBER bool isOf(const Index *chosen, i64 row, i64 rows, int expert) {
    if (row >= rows)
      return false;
    Index number = chosen[row];
    return (number < 0 ? 0 : number >= kExperts ? kExperts - 1 : number) == expert;
  }

  static DEVICE_MEMBER void run(const Index *chosen, i32 *order, i32 *offsets, i64 rows) {
    STATIC_SHARED(u32, counts, kExperts);
    waitForDependencies();
    int warp = int(threadIdx.x / 32);
    for (int expert = warp; expert < kExperts; expert += kWarps) {
      u32 count = 0;
      for (i64 row = 0; row < rows; row += 32)
        count += bitCount(votes(isOf(chosen, row + laneId(), rows, expert)));
      if (laneId() == 0)
        counts[expert] = count;
    }
    blockSync();
    for (int expert = warp; expert < kExperts; expert += kWarps) {
      u32 first = 0;
      for (int e = int(laneId()); e < expert; e += 32)
        first += counts[e];
      UNROLL
      for (u32 mask = 16; mask; mask /= 2)
        first += shuffleXor(first, mask);
      if (laneId() == 0) {
        offsets[expert] = i32(first);
        if (expert + 1 == kExperts)
          offsets[kExperts] = i32(rows);
      }
      for (i64 row = 0; row < rows; row += 32) {
        bool mine = isOf(chosen, row + laneId(), rows, expert);
        u32 all = votes(mine);
        if (mine)
          order[first + bitCount(all & ((1u << laneId()) - 1))] = i32(row + laneId());
        first += bitCount(all);
      }
    }
  }
};
