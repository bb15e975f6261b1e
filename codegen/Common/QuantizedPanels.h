//===- QuantizedPanels.h - weights of 4 and 8 bits as kernels read them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llmopt/lib/Artifact/QuantizedPanels.h says how they lie.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_QUANTIZEDPANELS_H
#define LLMOPT_CODEGEN_COMMON_QUANTIZEDPANELS_H

#include "llmopt/lib/Artifact/QuantizedPanels.h"
#include "llmopt/lib/Support/Status.h"

#include <span>
#include <vector>

namespace llmopt {

/// Most inputs whose products are added before they are scaled, on CPUs: a part of a block.
inline constexpr int64_t kCodeSpan = 256;

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
