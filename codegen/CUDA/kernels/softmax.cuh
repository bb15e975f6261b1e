//===- softmax.cuh - softmax of rows --------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What lies in front of and behind the softmax is printed from the region. Any target, any width. Rows has
//
//   kThreads            of a block, 32 to 1024
//   float load(i64 row, i64 column) const;
//   void store(i64 row, i64 column, float value) const;
//
// The first 8 * kThreads numbers of a row stay in registers, the others are loaded again. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "vectors.cuh"

template <class Rows>
struct Softmax {
  static constexpr int kThreads = Rows::kThreads, kWarps = kThreads / 32, kHeld = 8;

  template <class Join>
  static DEVICE_MEMBER float joinBlock(float value, float *parts, Join join) {
    UNROLL
    for (u32 mask = 16; mask; mask /= 2)
      value = join(value, shuffleXor(value, mask));
    if constexpr (kWarps > 1) {
      if (laneId() == 0)
        parts[threadIdx.x / 32] = value;
      blockSync();
      value = parts[0];
      UNROLL
      for (int i = 1; i < kWarps; ++i)
        value = join(value, parts[i]);
    }
    return value;
  }
  static DEVICE_MEMBER float power(float x, float most) { return exp2Approx((x - most) * 1.4426950408889634f); }

  static DEVICE_MEMBER void run(const Rows &rows, i64 units, i64 width) {
    STATIC_SHARED(float, parts, 2 * kWarps);
    waitForDependencies();
    for (i64 row = blockIdx.x; row < units; row += gridDim.x) {
      float held[kHeld], most = floatOf(0xff800000u), sum = 0;
      UNROLL
      for (int i = 0; i < kHeld; ++i) {
        i64 column = i64(i) * kThreads + threadIdx.x;
        held[i] = column < width ? rows.load(row, column) : floatOf(0xff800000u);
        most = maximum(most, held[i]);
      }
      for (i64 column = i64(kHeld) * kThreads + threadIdx.x; column < width; column += kThreads)
        most = maximum(most, rows.load(row, column));
      most = joinBlock(most, parts, [](float a, float b) INLINE_LAMBDA { return maximum(a, b); });
      UNROLL
      for (int i = 0; i < kHeld; ++i)
        if (i64(i) * kThreads + threadIdx.x < width)
          sum += held[i] = power(held[i], most);
      for (i64 column = i64(kHeld) * kThreads + threadIdx.x; column < width; column += kThreads)
        sum += power(rows.load(row, column), most);
      sum = joinBlock(sum, parts + kWarps, [](float a, float b) INLINE_LAMBDA { return a + b; });
      float scale = 1.0f / sum;
      UNROLL
      for (int i = 0; i < kHeld; ++i)
        if (i64 column = i64(i) * kThreads + threadIdx.x; column < width)
          rows.store(row, column, held[i] * scale);
      for (i64 column = i64(kHeld) * kThreads + threadIdx.x; column < width; column += kThreads)
        rows.store(row, column, power(rows.load(row, column), most) * scale);
      blockSync(); // the places for maxima and sums are used again
    }
  }
};
