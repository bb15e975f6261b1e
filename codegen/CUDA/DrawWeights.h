//===- DrawWeights.h - weights made on the device ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_DRAWWEIGHTS_H
#define LLMOPT_CODEGEN_CUDA_DRAWWEIGHTS_H

#include "codegen/CUDA/Printer.h"

namespace llmopt::cuda {

/// The kernel kDrawWeightsKernel, which the runtime launches for each weight that the artifact only describes.
KernelUnit drawWeightsUnit();

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_DRAWWEIGHTS_H
