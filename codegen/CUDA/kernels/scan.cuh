//===- scan.cuh - running sums of rows ------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the rows are computed from is printed from the region. Any target, any width. Rows has
//
//   Type                float, double, u32 or u64
//   kThreads            of a block, 32 to 1024
//   kExclusive          a sum leaves its own element out
//   kReverse            sums run from the end
//   Type load(i64 row, i64 column) const;
//   void store(i64 row, i64 column, Type value) const;
//
// A block goes over a row in pieces of four elements a thread. An element is read only by the thread that writes its sum, before it does. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "block_join.cuh"

template <class Rows>
struct Scan {
  typedef typename Rows::Type Type;
  static constexpr int kThreads = Rows::kThreads, kWarps = kThreads / 32, kEach = 4;

  /// The sum over lower threads of the block; `all`: over all threads, the same bits in each.
  static DEVICE_MEMBER Type sumBefore(Type own, Type *parts, Type &all) {
    Type before = 0;
    all = own;
    UNROLL
    for (u32 distance = 1; distance < 32; distance *= 2) {
      Type other = exchangeXor(all, distance); // of the neighbouring group
      before += laneId() & distance ? other : Type(0);
      all += other;
    }
    if constexpr (kWarps > 1) {
      if (laneId() == 0)
        parts[threadIdx.x / 32] = all;
      blockSync();
      Type lower = 0;
      all = 0;
      for (int warp = 0; warp < kWarps; ++warp) {
        lower = u32(warp) == threadIdx.x / 32 ? all : lower;
        all += parts[warp];
      }
      before = lower + before;
      blockSync(); // the places are used again
    }
    return before;
  }

  static DEVICE_MEMBER void run(const Rows &rows, i64 units, i64 width) {
    STATIC_SHARED(Type, parts, kWarps);
    waitForDependencies();
    for (i64 row = blockIdx.x; row < units; row += gridDim.x) {
      Type carried = 0;
      for (i64 first = 0; first < width; first += kThreads * kEach) {
        i64 column = first + i64(threadIdx.x) * kEach;
        Type elements[kEach], own = 0, all;
        UNROLL
        for (int i = 0; i < kEach; ++i) {
          elements[i] = column + i < width ? rows.load(row, place(column + i, width)) : Type(0);
          own += elements[i];
        }
        Type sum = carried + sumBefore(own, parts, all);
        UNROLL
        for (int i = 0; i < kEach; ++i) {
          Type next = sum + elements[i];
          if (column + i < width)
            rows.store(row, place(column + i, width), Rows::kExclusive ? sum : next);
          sum = next;
        }
        carried += all;
      }
    }
  }

private:
  static DEVICE_MEMBER i64 place(i64 column, i64 width) { return Rows::kReverse ? width - 1 - column : column; }
};
