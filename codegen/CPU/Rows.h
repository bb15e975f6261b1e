//===- Rows.h - the family of normalizations --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ROWS_H
#define LLMOPT_CODEGEN_CPU_ROWS_H

#include "codegen/CPU/Loops.h"

namespace llmopt::cpu {

/// Family "rows": llm.layer_norm, llm.rms_norm and llm.softmax with elementwise neighbours.
Result<LoweredKernel> lowerRows(exec::KernelOp kernel, FamilyContext &context);

/// Rows of a norm over f32, of a cast to it, or of a choice of rows, as another family's kernel needs them.
struct NormRows {
  mlir::Operation *norm = nullptr;
  mlir::Value first, end; ///< rows, flat over all dimensions but the last
  mlir::Value to;         ///< address: rows lie without gaps
  mlir::Value publish;    ///< i1: store also those of the kernel's results that the norm, or what is before it, gives
};
Status emitNormRows(KernelBuilder &b, exec::KernelOp kernel, FamilyContext &context, int64_t lanes, const NormRows &rows);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ROWS_H
