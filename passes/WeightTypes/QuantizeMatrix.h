//===- QuantizeMatrix.h - codes and scales of a matrix ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_WEIGHTTYPES_QUANTIZEMATRIX_H
#define LLMOPT_PASSES_WEIGHTTYPES_QUANTIZEMATRIX_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace llmopt {

/// The matrix ([outputs, inputs], with `transposed` [inputs, outputs]; or those of experts, [experts, outputs, inputs]) rounded to nearest in blocks of 32 inputs, each with a scale in f16: (codes) * scale in f32, where
/// codes are of `code`, i8 or i4. An expression over the weight that is evaluated when the artifact is written. Null where inputs do not fill blocks.
mlir::Value quantizeMatrix(mlir::OpBuilder &builder, mlir::Value matrix, bool transposed, mlir::Type code);

} // namespace llmopt

#endif // LLMOPT_PASSES_WEIGHTTYPES_QUANTIZEMATRIX_H
