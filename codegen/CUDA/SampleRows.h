//===- SampleRows.h - the kernel that draws tokens --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_SAMPLEROWS_H
#define LLMOPT_CODEGEN_CUDA_SAMPLEROWS_H

#include "codegen/CUDA/Printer.h"

namespace llmopt::cuda {

/// The kernel kSampleKernel (lib/Artifact/TokenChoice.h), which the runtime launches behind a step, so that no logits travel.
KernelUnit sampleUnit();

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_SAMPLEROWS_H
