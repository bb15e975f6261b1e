//===- RoundRows.h - rows that products in bf16 read ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_ROUNDROWS_H
#define LLMOPT_CODEGEN_COMMON_ROUNDROWS_H

#include "mlir/IR/BuiltinOps.h"

namespace llmopt {

/// Results of projections that only products in bf16 read are stored in bf16: rounded once where they are made, to the same bits, instead of by
/// every reader, and half as many bytes. Strategies must have been chosen.
void roundRows(mlir::ModuleOp module);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_ROUNDROWS_H
