//===- QuantizedPanels.h - layouts of weights of 4 and 8 bits ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matrix of N outputs by K inputs, W = (code - zero) * scale, in panels of 16 outputs. For GPUs (codegen/CUDA/kernels/quantized.cuh) a panel is
//
//   codes    pieces of 64 inputs, inputs beyond K coded as zero points: for each of the 32 lanes of a warp 16 bytes (4 bits), or twice 16 bytes for 32 inputs
//            each (8 bits). Lane 4n + q has outputs n and n + 8, inputs 4q to 4q+3 of every 16.
//              4 bits: word s for inputs 16s + .., the nibble of output n + 8j and input 4q + 2r + e at bit 8j + 4r + 16e
//              8 bits: word 2s + r for inputs 16s + 4q + 2r + e, the byte of output n + 8j at 2j + e
//   scales   [blocks][16]
//   zeros    [blocks][16] bytes, where blocks have their own
//
// with blocks counted over whole pieces. For CPUs (codegen/CPU/LinearCodes.h), all in one sequential stream, it is groups of blocks (one; two where scales have 16 bits,
// four where there are zero points), each
//
//   scales   [blocks of the group][16], filled up to 64 bytes
//   zeros    the same in bytes, where blocks have their own
//   codes    [blocks of the group], the last one filled up. A block without a size is filled up to 16 inputs, or 256.
//              8 bits: [K / 4][16][4], the order of vpdpbusd
//              4 bits: [K / 8][16][4], the first four inputs in the low half of each byte, the others in the high one
//
// Codes are unsigned: signed ones are moved up together with their zero points.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_QUANTIZEDPANELS_H
#define LLMOPT_LIB_ARTIFACT_QUANTIZEDPANELS_H

#include "llmopt/lib/Support/DType.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmopt {

/// Whose loads say where codes lie.
enum class CodeOrder { Fragments, Words };

struct QuantizedPanels {
  int bits = 4;             ///< 4 or 8
  int64_t block = 0;        ///< inputs that share a scale: 16, 32 or a multiple of 64; 0: all
  DType scale = DType::F32; ///< f32, bf16 or f16
  bool zeros = false;       ///< blocks have zero points of their own
  CodeOrder order = CodeOrder::Fragments; ///< of GPUs; words for CPUs

  /// "panel16q4b32f32z": 4 bits, blocks of 32, f32 scales, own zero points; "panel16w..." in words.
  std::string layout() const;
  /// Nothing for other layouts, and for numbers that no packing has.
  static std::optional<QuantizedPanels> ofLayout(std::string_view layout);
  /// Blocks that hold K inputs.
  int64_t blocks(int64_t inputs) const { return block ? (inputs + block - 1) / block : 1; }
  int64_t panelBytes(int64_t inputs) const;
  int64_t bytes(int64_t outputs, int64_t inputs) const;
  /// Inputs of a block as it is stored.
  int64_t blockInputs(int64_t inputs) const;
  /// Of panels in words: bytes of a block's codes, of what lies before a group's codes and of its scales, blocks of a group.
  int64_t blockBytes(int64_t inputs) const;
  int64_t headBytes(int64_t inputs) const;
  int64_t scaleBytes(int64_t inputs) const;
  int64_t groupBlocks(int64_t inputs) const;
  int64_t groupBytes(int64_t inputs) const { return headBytes(inputs) + groupBlocks(inputs) * blockBytes(inputs); }
  bool operator==(const QuantizedPanels &) const = default;
};

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_QUANTIZEDPANELS_H
