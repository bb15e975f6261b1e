//===- QuantizedPanels.h - weights of 4 and 8 bits as kernels read them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matrix of N outputs by K inputs, W = (code - zero) * scale, in panels of 16 outputs (codegen/CUDA/kernels/quantized.cuh). A panel is
//
//   codes    pieces of 64 inputs, inputs beyond K coded as zero points: for each of the 32 lanes of a warp 16 bytes (4 bits), or twice 16 bytes for 32 inputs
//            each (8 bits). Lane 4n + q has outputs n and n + 8, inputs 4q to 4q+3 of every 16.
//              4 bits: word s for inputs 16s + .., the nibble of output n + 8j and input 4q + 2r + e at bit 8j + 4r + 16e
//              8 bits: word 2s + r for inputs 16s + 4q + 2r + e, the byte of output n + 8j at 2j + e
//   scales   [blocks][16]
//   zeros    [blocks][16] bytes, where blocks have their own
//
// Blocks are counted over whole pieces. Codes are unsigned: signed ones are moved up together with their zero points.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_QUANTIZEDPANELS_H
#define LLMOPT_CODEGEN_COMMON_QUANTIZEDPANELS_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Status.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

struct QuantizedPanels {
  int bits = 4;             ///< 4 or 8
  int64_t block = 0;        ///< inputs that share a scale: 16, 32 or a multiple of 64; 0: all
  DType scale = DType::F32; ///< f32, bf16 or f16
  bool zeros = false;       ///< blocks have zero points of their own

  /// "panel16q4b32f32z": 4 bits, blocks of 32, f32 scales, own zero points.
  std::string layout() const;
  static std::optional<QuantizedPanels> ofLayout(std::string_view layout);
  /// Blocks that hold K inputs.
  int64_t blocks(int64_t inputs) const { return block ? (inputs + block - 1) / block : 1; }
  int64_t panelBytes(int64_t inputs) const;
  int64_t bytes(int64_t outputs, int64_t inputs) const;
  bool operator==(const QuantizedPanels &) const = default;
};

/// A quantized matrix in plain arrays.
struct QuantizedMatrix {
  int64_t outputs = 0, inputs = 0;
  const uint8_t *codes = nullptr;                ///< a byte each
  int64_t outputStride = 0, inputStride = 1;
  int offset = 0;                                ///< what makes codes unsigned; part of the zero points already
  std::vector<float> scales;                     ///< [outputs][blocks]
  std::vector<uint8_t> zeros;                    ///< the same, or one for all
};

/// E0922 for codes or zero points beyond `bits`.
Status packQuantized(const QuantizedPanels &panels, const QuantizedMatrix &matrix, std::span<std::byte> packed);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_QUANTIZEDPANELS_H
