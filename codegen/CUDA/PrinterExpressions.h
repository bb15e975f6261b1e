//===- PrinterExpressions.h - one operation as a C++ expression -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PRINTEREXPRESSIONS_H
#define LLMOPT_CODEGEN_CUDA_PRINTEREXPRESSIONS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <optional>
#include <string>

namespace llmopt::cuda {

/// "float", "u32", "Vec<float, 4>"; integers are unsigned, f16 is its bits.
std::string typeName(mlir::Type type);
int64_t elementBytes(mlir::Type type);
/// The head of a statement for each lane `l`.
std::string lanes(mlir::VectorType type);
/// A number as an expression of exactly its value.
std::string literal(mlir::Attribute number);

/// What `op` computes from scalars (of one lane, where it works on vectors); `operand` names them.
std::optional<std::string> expression(mlir::Operation *op, llvm::function_ref<std::string(mlir::Value)> operand);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PRINTEREXPRESSIONS_H
