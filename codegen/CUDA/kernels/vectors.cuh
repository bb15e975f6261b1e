//===- vectors.cuh - 16 bytes of numbers as floats and back ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#pragma once

#include "float8.cuh"

DEVICE void unpack(float, Vector128 from, float (&to)[4]) {
  UNROLL
  for (int i = 0; i < 4; ++i)
    to[i] = floatOf(from.word[i]);
}
DEVICE void unpack(bf16, Vector128 from, float (&to)[8]) {
  UNROLL
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = floatOf(from.word[i] << 16);
    to[2 * i + 1] = floatOf(from.word[i] & 0xffff0000u);
  }
}
DEVICE void unpack(f16, Vector128 from, float (&to)[8]) {
  UNROLL
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = lowF16(from.word[i]);
    to[2 * i + 1] = highF16(from.word[i]);
  }
}
DEVICE void unpack(i8, Vector128 from, float (&to)[16]) {
  UNROLL
  for (int i = 0; i < 16; ++i)
    to[i] = float(i8(from.word[i / 4] >> (8 * (i % 4))));
}
DEVICE void unpack(e4m3, Vector128 from, float (&to)[16]) {
  UNROLL
  for (int i = 0; i < 4; ++i) {
    float word[4];
    unpackWord(e4m3(), from.word[i], word);
    UNROLL
    for (int e = 0; e < 4; ++e)
      to[4 * i + e] = word[e];
  }
}

DEVICE Vector128 pack(float, const float *from) {
  return {bitsOf(from[0]), bitsOf(from[1]), bitsOf(from[2]), bitsOf(from[3])};
}
DEVICE Vector128 pack(bf16, const float *from) {
  return {packBf16(from[0], from[1]), packBf16(from[2], from[3]), packBf16(from[4], from[5]), packBf16(from[6], from[7])};
}
DEVICE Vector128 pack(f16, const float *from) {
  return {packF16(from[0], from[1]), packF16(from[2], from[3]), packF16(from[4], from[5]), packF16(from[6], from[7])};
}

DEVICE float convert(float x) { return x; }
DEVICE float convert(bf16 x) { return toFloat(x); }
DEVICE float convert(f16 x) { return lowF16(x.bits); }
DEVICE float convert(e4m3 x) {
  u32 low, high;
  widenE4m3(x.bits, low, high);
  return lowF16(low);
}
DEVICE void assign(float &to, float x) { to = x; }
DEVICE void assign(bf16 &to, float x) { to.bits = u16(packBf16(x, 0)); }
DEVICE void assign(f16 &to, float x) { to.bits = u16(packF16(x, 0)); }

/// N numbers from memory. Whole: 16-byte loads; otherwise one by one, and those beyond `left` are zero.
template <bool kWhole, int N, class T>
DEVICE void loadVector(const T *from, i64 left, float (&to)[N]) {
  constexpr int kEach = 16 / sizeof(T);
  if constexpr (kWhole && N % kEach == 0) {
    UNROLL
    for (int i = 0; i < N / kEach; ++i) {
      float part[kEach];
      unpack(T(), loadGlobal128(from + i * kEach), part);
      UNROLL
      for (int e = 0; e < kEach; ++e)
        to[i * kEach + e] = part[e];
    }
  } else {
    UNROLL
    for (int i = 0; i < N; ++i)
      to[i] = i < left ? convert(from[i]) : 0.0f;
  }
}
template <bool kWhole, int N, class T>
DEVICE void storeVector(T *to, i64 left, const float (&from)[N]) {
  constexpr int kEach = 16 / sizeof(T);
  if constexpr (kWhole && N % kEach == 0) {
    UNROLL
    for (int i = 0; i < N / kEach; ++i)
      storeGlobal128(to + i * kEach, pack(T(), from + i * kEach));
  } else {
    UNROLL
    for (int i = 0; i < N; ++i)
      if (i < left)
        assign(to[i], from[i]);
  }
}
