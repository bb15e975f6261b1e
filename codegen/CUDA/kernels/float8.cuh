//===- float8.cuh - e4m3 in wider numbers -----------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// f16 holds every e4m3 exactly, so products of f16 with sums in f32 are those of e4m3.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

/// e4m3 in the high bytes of two halves as a pair of f16: sign and magnitude move to their places, which makes a number 2^-8 of what it was. All ones become
/// an exponent of all ones: NaN.
DEVICE u32 widenE4m3Pair(u32 halves) {
  u32 magnitude = (halves & 0x7f007f00u) >> 1;
  magnitude |= (magnitude + 0x00800080u) & 0x40004000u;
  return fmaF16((halves & 0x80008000u) | magnitude, 0x5c005c00u, 0x80008000u); // 256 x - 0
}
/// Four e4m3 as two pairs of f16.
DEVICE void widenE4m3(u32 bytes, u32 &low, u32 &high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  convertE4m3(bytes, low, high);
#else
  low = widenE4m3Pair(permuteBytes(bytes, 0, 0x1404));
  high = widenE4m3Pair(permuteBytes(bytes, 0, 0x3424));
#endif
}
DEVICE void unpackWord(e4m3, u32 from, float (&to)[4]) {
  u32 low, high;
  widenE4m3(from, low, high);
  to[0] = lowF16(low), to[1] = highF16(low), to[2] = lowF16(high), to[3] = highF16(high);
}

/// sums += a * b of 32 e4m3 in K, as two products of f16: before sm_89 there is none of e4m3, and on Hopper the sums of that keep some 14 bits. Both operands
/// take the same order of K: of a register, the first two numbers are a pair of f16 and the others the pair eight numbers further on.
DEVICE void multiply(e4m3AsF16, float (&sums)[4], const u32 (&a)[4], const u32 *b) {
  UNROLL
  for (int half = 0; half < 2; ++half) {
    u32 wideA[4], wideB[2];
    widenE4m3(a[half * 2], wideA[0], wideA[2]);
    widenE4m3(a[half * 2 + 1], wideA[1], wideA[3]);
    widenE4m3(b[half], wideB[0], wideB[1]);
    multiply(f16(), sums, wideA, wideB);
  }
}
