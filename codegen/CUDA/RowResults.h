//===- RowResults.h - what is stored behind the heart of a row kernel -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_ROWRESULTS_H
#define LLMOPT_CODEGEN_CUDA_ROWRESULTS_H

#include "codegen/CPU/LoopsEmitter.h"

namespace llmopt::cuda {

/// Emits the region's results, but for those in `but`, at one place, where the norm or softmax `heart` is `value`.
void storeRowResults(cpu::KernelBuilder &b, cpu::ElementEmitter &emitter, exec::KernelOp kernel, mlir::Value heart, mlir::Value value, cpu::ElementEmitter::At at,
                     mlir::ValueRange but = {});

/// What a family of rows reads and what it writes, in one body, so that both share the list of sizes; the text around it says by `stores` (0 or 1) which half is
/// wanted. E0911.
Status emitHalves(cpu::KernelBuilder &b, exec::KernelOp kernel, cpu::FamilyContext &context, mlir::Value stores,
                  llvm::function_ref<void(cpu::ElementEmitter &)> load, llvm::function_ref<void(cpu::ElementEmitter &)> store);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_ROWRESULTS_H
