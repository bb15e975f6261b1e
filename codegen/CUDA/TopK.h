//===- TopK.h - the k best of rows ------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_TOPK_H
#define LLMOPT_CODEGEN_CUDA_TOPK_H

#include "codegen/CUDA/LowerKernel.h"

namespace llmopt::cuda {

/// By kernels/top_k.cuh, for up to 1024 of the last axis, in f32 and narrower floats; nothing for other regions.
Result<std::optional<LoweredDeviceKernel>> lowerTopK(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_TOPK_H
