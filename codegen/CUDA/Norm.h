//===- Norm.h - normalisations by the written family ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_NORM_H
#define LLMOPT_CODEGEN_CUDA_NORM_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "rows" that is an RMS or layer norm of a tensor or of the sum of two, and what is computed of its elements behind it, as an instance of
/// norm.cuh. Nothing for others.
Result<std::optional<LoweredDeviceKernel>> lowerNorm(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_NORM_H
