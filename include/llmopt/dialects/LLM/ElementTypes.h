//===- ElementTypes.h - DType and MLIR element types ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_ELEMENTTYPES_H
#define LLMOPT_DIALECTS_LLM_ELEMENTTYPES_H

#include "llmopt/lib/Support/Tensor.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

namespace llmopt::llm {

/// f32, bf16, i64, ui8, i1 (for Bool) ...: one for one.
mlir::Type elementTypeOf(mlir::MLIRContext *context, DType type);
/// Nothing for types that tensors of the dialect do not have.
std::optional<DType> dtypeOf(mlir::Type elementType);

/// The value of an llm.constant with a tensor's contents.
mlir::DenseElementsAttr elementsFromTensor(mlir::MLIRContext *context, const Tensor &tensor);

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_ELEMENTTYPES_H
