//===- DenseAttention.h - attention over padded batches ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_DENSEATTENTION_H
#define LLMOPT_CODEGEN_CUDA_DENSEATTENTION_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "attention" by kernels/dense_attention.cuh; empty where that does not take its region.
Result<std::optional<LoweredDeviceKernel>> lowerDenseAttention(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_DENSEATTENTION_H
