//===- block_join.cuh - one number of all threads of a block --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

/// Of 4 or 8 bytes.
template <class T>
DEVICE T exchangeXor(T value, u32 mask) {
  if constexpr (sizeof(T) == 4) {
    return __builtin_bit_cast(T, shuffleXor(__builtin_bit_cast(u32, value), mask));
  } else {
    u64 bits = __builtin_bit_cast(u64, value);
    return __builtin_bit_cast(T, u64(shuffleXor(u32(bits >> 32), mask)) << 32 | shuffleXor(u32(bits), mask));
  }
}

/// Joins kCount numbers of each thread; all threads get the results. The order depends on the number of warps only. `parts` has places for each warp, and may be
/// used again behind the next blockSync.
template <int kWarps, int kCount, class T, class Join>
DEVICE void joinOfBlock(T (&values)[kCount], T *parts, Join join) {
  UNROLL
  for (u32 mask = 16; mask; mask /= 2) {
    T others[kCount];
    UNROLL
    for (int i = 0; i < kCount; ++i)
      others[i] = exchangeXor(values[i], mask);
    join(values, others);
  }
  if constexpr (kWarps > 1) {
    if (laneId() == 0)
      UNROLL
      for (int i = 0; i < kCount; ++i)
        parts[threadIdx.x / 32 * kCount + i] = values[i];
    blockSync();
    UNROLL
    for (int i = 0; i < kCount; ++i)
      values[i] = parts[i];
    for (int warp = 1; warp < kWarps; ++warp) {
      T others[kCount];
      UNROLL
      for (int i = 0; i < kCount; ++i)
        others[i] = parts[warp * kCount + i];
      join(values, others);
    }
  }
}
