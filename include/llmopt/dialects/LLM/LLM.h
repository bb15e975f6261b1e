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

/// Marks operations that compute each result element from the operand elements at the same index.
template <typename ConcreteType>
class Elementwise : public mlir::OpTrait::TraitBase<ConcreteType, Elementwise> {};

/// Key of the function argument attribute that names dimensions: `{llm.dims = ["batch", "seq", 64]}`.
inline constexpr llvm::StringLiteral kDimsAttr = "llm.dims";

} // namespace llmopt::llm

#include "llmopt/dialects/LLM/LLMDialect.h.inc"
#include "llmopt/dialects/LLM/LLMEnums.h.inc"
#include "llmopt/dialects/LLM/LLMOpInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "llmopt/dialects/LLM/LLMAttrs.h.inc"
#define GET_OP_CLASSES
#include "llmopt/dialects/LLM/LLMOps.h.inc"

#endif // LLMOPT_DIALECTS_LLM_LLM_H
