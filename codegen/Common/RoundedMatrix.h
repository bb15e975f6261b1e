//===- RoundedMatrix.h - matrices that are rounded while compiling -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --dtype=int8 and int4 write codes and scales as an expression over a weight (passes/WeightTypes/QuantizeMatrix.h). The interpreter can evaluate it, at eight bytes and
// a microsecond an element; this does the same operations on f32, panel by panel, and gives the same bits.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_ROUNDEDMATRIX_H
#define LLMOPT_CODEGEN_COMMON_ROUNDEDMATRIX_H

#include "codegen/Common/QuantizedPanels.h"
#include "llmopt/lib/Analysis/QuantizedWeight.h"

namespace llmopt {

struct RoundedMatrix {
  mlir::Value matrix;       ///< f32, bf16 or f16: what is rounded
  bool outputsFirst = true; ///< it is [outputs, inputs], or several of these
  int bits = 8;
  int64_t matrices = 1, outputs = 0, inputs = 0;

  /// Packs `source`, the row-major elements of `matrix`, with so many threads (0: all processors). E0917 where it has another size than its type needs.
  Status pack(const QuantizedPanels &panels, std::span<const std::byte> source, unsigned jobs, std::span<std::byte> packed) const;
};

/// The matrix that a weight's codes and scales are made of, or nothing where they are something else.
std::optional<RoundedMatrix> findRoundedMatrix(const QuantizedWeight &weight);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_ROUNDEDMATRIX_H
