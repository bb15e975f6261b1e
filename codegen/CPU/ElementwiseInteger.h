//===- ElementwiseInteger.h - integer and boolean elements ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ELEMENTWISEINTEGER_H
#define LLMOPT_CODEGEN_CPU_ELEMENTWISEINTEGER_H

#include "codegen/CPU/KernelBuilder.h"

namespace llmopt::cpu {

/// An elementwise op on operands of integer `type` (its tensor element type, with sign); null if the op has no integer form.
mlir::Value emitIntegerElementwise(KernelBuilder &b, mlir::Operation *op, mlir::IntegerType type,
                                   llvm::ArrayRef<mlir::Value> operands);
/// x to the power of y, wrapping; negative exponents give what truncation gives (0, 1 or -1).
mlir::Value emitIntegerPower(KernelBuilder &b, mlir::IntegerType xType, mlir::Value x, mlir::IntegerType yType, mlir::Value y);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ELEMENTWISEINTEGER_H
