//===- LLM.h - the llm dialect ----------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLM_H
#define LLMOPT_DIALECTS_LLM_LLM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace llmopt::llm {

namespace detail {
mlir::LogicalResult verifyElementwise(mlir::Operation *op);
}

/// Marks operations that compute each result element from the operand elements at the same index.
template <typename ConcreteType>
class Elementwise : public mlir::OpTrait::TraitBase<ConcreteType, Elementwise> {
public:
  static mlir::LogicalResult verifyTrait(mlir::Operation *op) { return detail::verifyElementwise(op); }
};

/// Key of the function argument attribute that names dimensions: `{llm.dims = ["batch", "seq", 64]}`.
inline constexpr llvm::StringLiteral kDimsAttr = "llm.dims";

/// True for values that depend on weights and constants alone: they are evaluated when the artifact is written.
bool isWeightExpression(mlir::Value value);
/// The same elements in the same order under another shape (reshape, expand_dims, squeeze, flatten): another name for one buffer.
bool isView(mlir::Operation *op);

} // namespace llmopt::llm

#include "llmopt/dialects/LLM/LLMDialect.h.inc"
#include "llmopt/dialects/LLM/LLMEnums.h.inc"
#include "llmopt/dialects/LLM/LLMOpInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "llmopt/dialects/LLM/LLMAttrs.h.inc"
#define GET_OP_CLASSES
#include "llmopt/dialects/LLM/LLMOps.h.inc"

#endif // LLMOPT_DIALECTS_LLM_LLM_H
