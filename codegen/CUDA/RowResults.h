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

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_ROWRESULTS_H
