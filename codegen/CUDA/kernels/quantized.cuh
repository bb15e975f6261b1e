//===- quantized.cuh - weights of 4 and 8 bits in blocks ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Panels of 16 columns as codegen/Common/QuantizedPanels.h packs them: pieces of 64 inputs, each as the lanes of a warp want them for mma.sync, then
// scales, then zero points. Codes become numbers in registers: differences to the zero point, which bf16 and f16 hold exactly. Scales meet the sums of
// a block, in f32. Layer has
//
//   Weight              bf16 or f16: what the products are made in
//   Scale               float, bf16 or f16
//   kDepth              K
//   kBits               4 or 8
//   kBlock              inputs that share a scale: 16, 32, or a multiple of 64; 0: all
//   kZero               zero point of all blocks; -1: each has its own
//
//===----------------------------------------------------------------------===//
#pragma once

#include "fragments.cuh"
#include "vectors.cuh"

/// A fragment's place of K in 16 is not the one PTX gives it: lane q of four holds inputs 4q to 4q+3, for x as for the weights.
template <class Layer>
struct QuantizedPanel {
  typedef typename Layer::Weight Weight;
  typedef typename Layer::Scale Scale;
  static constexpr int kDepth = Layer::kDepth, kBits = Layer::kBits, kBlock = Layer::kBlock, kPieces = (kDepth + 63) / 64, kLoads = kBits / 4;
  static constexpr int kGroups = kBlock ? (kPieces * 64 + kBlock - 1) / kBlock : 1;
  static constexpr int kStepsOfGroup = kBlock && kBlock < 64 ? kBlock / 16 : 4; // sums are scaled after so many
  static constexpr bool kOwnZeros = Layer::kZero < 0;
  static constexpr i64 kScalesAt = i64(kPieces) * kBits * 128, kZerosAt = kScalesAt + i64(kGroups) * 16 * sizeof(Scale), kBytes = kZerosAt + (kOwnZeros ? kGroups * 16 : 0);
  static_assert((kBits == 4 || kBits == 8) && (kBlock % 64 == 0 || kBlock == 16 || kBlock == 32));
  static constexpr bool kHalf = sizeof(Scale) == 2;

  /// A lane's codes of 64 inputs.
  struct Codes {
    Vector128 words[kLoads];
  };
  static DEVICE_MEMBER Codes load(const u8 *panel, int piece) {
    Codes codes;
    UNROLL
    for (int i = 0; i < kLoads; ++i)
      codes.words[i] = loadStream128(panel + (i64(piece) * kLoads + i) * 512 + laneId() * 16);
    return codes;
  }
  static DEVICE_MEMBER int groupOf(int piece, int step) { return kBlock == 0 ? 0 : (piece * 64 + step * 16) / kBlock; }

  /// Columns lane / 4 and lane / 4 + 8, as `fragment` wants them.
  static DEVICE_MEMBER void zeros(const u8 *panel, int group, u32 (&zeros)[2]) {
    UNROLL
    for (int i = 0; i < 2; ++i) {
      u32 zero = kOwnZeros ? panel[kZerosAt + group * 16 + i * 8 + laneId() / 4] : u32(Layer::kZero);
      zeros[i] = prepared(Weight(), zero);
    }
  }
  /// Columns 2 * (lane % 4) and the next, and the same 8 further.
  static DEVICE_MEMBER void scales(const u8 *panel, int group, float (&scales)[2][2]) {
    const Scale *from = (const Scale *)(panel + kScalesAt) + group * 16 + laneId() % 4 * 2;
    UNROLL
    for (int i = 0; i < 4; ++i)
      scales[i / 2][i % 2] = convert(from[i / 2 * 8 + i % 2]);
  }
  /// B[16, 16 inputs] for two products: registers 0 and 1 are the first eight columns.
  static DEVICE_MEMBER void fragment(const Codes &codes, int step, const u32 (&zeros)[2], u32 (&fragment)[4]) {
    UNROLL
    for (int i = 0; i < 4; ++i)
      if constexpr (kBits == 4)
        fragment[i] = nibbles(Weight(), codes.words[0].word[step] >> (4 * i), zeros[i / 2]);
      else
        fragment[i] = bytes(Weight(), codes.words[step / 2].word[step % 2 * 2 + i % 2], i / 2, zeros[i / 2]);
  }

private:
  // 128 + code in bf16, 1024 + code in f16, 2^23 + code in f32: the code's bits below those of the power of two.
  static DEVICE_MEMBER u32 prepared(bf16, u32 zero) { return kBits == 4 ? (0xc300u | zero) * 0x10001u : bitsOf(8388608.0f + float(zero)); }
  static DEVICE_MEMBER u32 prepared(f16, u32 zero) { return (0xe400u | zero) * 0x10001u; }
  static constexpr u32 kAndOr = (0xf0 & 0xcc) | 0xaa; // truth table of (a & b) | c
  static DEVICE_MEMBER u32 nibbles(bf16, u32 word, u32 zero) { return fmaBf16(logic3<kAndOr>(word, 0x000f000fu, 0x43004300u), 0x3f803f80u, zero); }
  static DEVICE_MEMBER u32 nibbles(f16, u32 word, u32 zero) { return fmaF16(logic3<kAndOr>(word, 0x000f000fu, 0x64006400u), 0x3c003c00u, zero); }
  static DEVICE_MEMBER u32 bytes(bf16, u32 word, u32 pair, u32 zero) {
    float low = floatOf(permuteBytes(word, 0x4b000000u, 0x7650u + pair * 2)), high = floatOf(permuteBytes(word, 0x4b000000u, 0x7651u + pair * 2));
    return packBf16(low - floatOf(zero), high - floatOf(zero));
  }
  static DEVICE_MEMBER u32 bytes(f16, u32 word, u32 pair, u32 zero) {
    return fmaF16(permuteBytes(word, 0x64646464u, pair ? 0x4342u : 0x4140u), 0x3c003c00u, zero);
  }
};

/// Sums of a block's products, scaled, join those of the blocks before.
DEVICE void addScaled(float (&sums)[4], float (&block)[4], const float (&scales)[2]) {
  UNROLL
  for (int i = 0; i < 4; ++i) {
    sums[i] += block[i] * scales[i % 2];
    block[i] = 0;
  }
}
