//===- WeightPacking.h - weights in the order kernels stream them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matrix of N outputs by K inputs is cut into panels of 16 outputs; inside a panel all outputs of one input (or of one pair or four of
// them) lie together, so that a kernel reads each panel as one sequential stream. The layouts are the same on every CPU:
//
//   panel16      [ceil(N / 16)][K][16]              f32, f16
//   panel16x2    [ceil(N / 16)][ceil(K / 2)][16][2]  bf16; the pair order of vdpbf16ps
//   panel16x4    [ceil(N / 16)][ceil(K / 4)][16][4]  i8, the order of vpdpbusd; f8e4m3fn
//
//   panel16w...  codes of 4 and 8 bits with their scales (QuantizedPanels.h); panel16q... for GPUs
//
// Outputs beyond N and inputs beyond K are zero. Kernels may read up to 64 bytes before a packed matrix (and ignore them).
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_WEIGHTPACKING_H
#define LLMOPT_CODEGEN_COMMON_WEIGHTPACKING_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Status.h"

#include <span>
#include <string_view>

namespace llmopt {

/// Outputs of one panel.
inline constexpr int64_t kPanelColumns = 16;

inline int64_t panelCount(int64_t outputs) { return (outputs + kPanelColumns - 1) / kPanelColumns; }

/// The layout in which matrix kernels take weights of this type; empty if they take none.
std::string_view panelLayout(DType type);

/// Inputs that lie together for each output: 1, or 2 or 4 where so many are interleaved; 0 for an unknown layout.
int64_t inputGroup(std::string_view layout);

/// Bytes of a packed matrix.
int64_t packedMatrixBytes(std::string_view layout, DType type, int64_t outputs, int64_t inputs);

/// Writes `packed` (packedMatrixBytes long) from a row-major matrix, [outputs, inputs] or, with `outputsFirst` false, [inputs, outputs].
Status packWeight(std::string_view layout, DType type, int64_t outputs, int64_t inputs, bool outputsFirst,
                  std::span<const std::byte> source, std::span<std::byte> packed);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_WEIGHTPACKING_H
