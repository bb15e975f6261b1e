//===- Elementwise.h - one llm elementwise op on registers ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ELEMENTWISE_H
#define LLMOPT_CODEGEN_CPU_ELEMENTWISE_H

#include "codegen/CPU/KernelBuilder.h"

namespace llmopt::cpu {

/// Register type of elements: floats as they are but for bf16, f16 and narrower ones, which are computed as f32; unsigned as signless; i1.
mlir::Type registerType(mlir::Type elementType);

/// Loads the element (lanes == 0) or `lanes` consecutive elements of a tensor of `elementType` and converts to its register
/// type (bf16 and f16 widen to f32, i1 bytes become i1). `count`, where given, limits the lanes touched.
mlir::Value loadElements(KernelBuilder &b, mlir::Type elementType, int64_t lanes, mlir::Value base, mlir::Value offset,
                         mlir::Value count = {});
/// The reverse: narrows and stores.
void storeElements(KernelBuilder &b, mlir::Type elementType, mlir::Value value, mlir::Value base, mlir::Value offset,
                   mlir::Value count = {});

/// Computes an op with trait llm::Elementwise on register values (all scalars, or all vectors of one length). Used by the
/// loop nests and by the epilogues of matrix kernels.
mlir::Value emitElementwise(KernelBuilder &b, mlir::Operation *op, llvm::ArrayRef<mlir::Value> operands);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ELEMENTWISE_H
