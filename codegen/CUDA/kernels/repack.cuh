//===- repack.cuh - codes as CPUs read them to codes as warps do ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs once for each weight of 4 and 8 bits of an artifact that holds them in words (lib/Artifact/QuantizedPanels.h has both orders,
// lib/Artifact/RepackedWeights.h the numbers). As printed kernels: no barrier, nothing shared. A thread makes 16 bytes of codes, or the scale and
// the zero point of a block and an output.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "printed.cuh"

struct Repack {
  u64 panels, outputs, stored, bits, block, blocks, scaleBytes, zero, wordPanel, groupBlocks, groupBytes, groupZeros, groupHead, blockBytes, pieces, allBlocks;

  DEVICE_MEMBER bool ownZeros() const { return zero > 255; }
  DEVICE_MEMBER const u8 *group(const u8 *panel, u64 at) const { return panel + quotient(at, groupBlocks) * groupBytes; }
  DEVICE_MEMBER u64 inGroup(u64 at) const { return at - quotient(at, groupBlocks) * groupBlocks; }
  /// Four codes of neighbouring inputs, a byte each.
  DEVICE_MEMBER u32 codes(const u8 *panel, u64 input, u64 output) const {
    if (input >= stored) {
      u32 same = u32(zero);
      if (ownZeros())
        same = block == 0 ? group(panel, 0)[groupZeros + output] : 0;
      return same * 0x01010101u;
    }
    u64 at = block == 0 ? 0 : quotient(input, block), within = input - at * block, perWord = 32 / bits;
    const u8 *codes = group(panel, at) + groupHead + inGroup(at) * blockBytes;
    u32 word = reinterpret_cast<const u32 *>(codes)[within / perWord * 16 + output];
    return bits == 8 ? word : word >> (within % 8) & 0x0f0f0f0fu;
  }
  /// Codes of four inputs of outputs n and n + 8, as two words of bytes or one of nibbles.
  DEVICE_MEMBER static u32 nibbles(u32 low, u32 high) {
    return (low & 0xff) | (low & 0xff00) << 8 | (low & 0xff0000) >> 12 | (low & 0xff000000u) >> 4 | (high & 0xff) << 8 | (high & 0xff00) << 16 | (high & 0xff0000) >> 4 |
           (high & 0xff000000u) << 4;
  }

  DEVICE_MEMBER void run(const u8 *words, u8 *to) const {
    u64 vectors = pieces * bits / 4 * 32, units = vectors + allBlocks * 16, panelBytes = vectors * 16 + allBlocks * 16 * (scaleBytes + (ownZeros() ? 1 : 0));
    for (u64 unit = gridThread(); unit < panels * units; unit += gridThreads()) {
      u64 panel = quotient(unit, units), within = unit - panel * units;
      const u8 *from = words + panel * wordPanel;
      u8 *out = to + panel * panelBytes;
      if (within < vectors)
        vector(from, panel, within, reinterpret_cast<u32 *>(out) + within * 4);
      else
        scale(from, within - vectors, out + vectors * 16);
    }
  }

private:
  DEVICE_MEMBER void vector(const u8 *from, u64 panel, u64 within, u32 *out) const {
    u64 lane = within % 32, output = lane / 4, steps = bits == 4 ? 4 : 2, first = within / 32 * steps * 16 + lane % 4 * 4;
    for (u64 s = 0; s < steps; ++s) {
      u32 low = panel * 16 + output < outputs ? codes(from, first + s * 16, output) : 0;
      u32 high = panel * 16 + output + 8 < outputs ? codes(from, first + s * 16, output + 8) : 0;
      if (bits == 4) {
        out[s] = nibbles(low, high);
      } else {
        out[s * 2] = (low & 0xffff) | high << 16;
        out[s * 2 + 1] = low >> 16 | (high & 0xffff0000u);
      }
    }
  }
  DEVICE_MEMBER void scale(const u8 *from, u64 at, u8 *scales) const {
    u64 of = at / 16, output = at % 16;
    const u8 *in = group(from, of);
    for (u64 i = 0; i < scaleBytes; ++i)
      scales[at * scaleBytes + i] = of < blocks ? in[(inGroup(of) * 16 + output) * scaleBytes + i] : u8(0);
    if (ownZeros())
      scales[allBlocks * 16 * scaleBytes + at] = of < blocks ? in[groupZeros + inGroup(of) * 16 + output] : u8(0);
  }
};
