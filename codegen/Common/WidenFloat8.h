//===- WidenFloat8.h - products of e4m3 on processors -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_WIDENFLOAT8_H
#define LLMOPT_CODEGEN_COMMON_WIDENFLOAT8_H

#include "mlir/IR/BuiltinOps.h"

namespace llmopt {

/// Products of e4m3 in kernels become those of rows in f32 with weights in bf16. Both hold every e4m3, so no number changes; processors have no
/// instruction for e4m3. Before strategies are chosen.
void widenFloat8Products(mlir::ModuleOp module);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_WIDENFLOAT8_H
