//===- Repack.h - codes as CPUs read them made those of GPUs ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_REPACK_H
#define LLMOPT_CODEGEN_CUDA_REPACK_H

#include "codegen/CUDA/Printer.h"

namespace llmopt::cuda {

/// The kernel kRepackKernel, which the runtime launches for each weight that lies as the CPU wants it.
KernelUnit repackUnit();

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_REPACK_H
