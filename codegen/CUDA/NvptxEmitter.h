//===- NvptxEmitter.h - kernel functions to PTX by LLVM alone ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The second emitter: functions of the kernel ABI (see Printer.h) go through the LLVM and NVVM dialects and LLVM's NVPTX back end, in
// process, with nothing of NVIDIA's. Each thread takes work units one by one, as in printed kernels; there are no tensor cores.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_NVPTXEMITTER_H
#define LLMOPT_CODEGEN_CUDA_NVPTXEMITTER_H

#include "codegen/CUDA/Printer.h"
#include "llmopt/lib/Target/Target.h"

namespace llmopt::cuda {

/// A unit of form "ptx" with the module's functions as kernels that take `buffers` bindings and `dims` integers. The module is used up.
/// E0988 where LLVM has no NVPTX back end, or a function needs what it lacks.
Result<KernelUnit> emitPtx(mlir::ModuleOp module, uint32_t buffers, uint32_t dims, const Target &target);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_NVPTXEMITTER_H
