//===- Softmax.h - softmax of rows by the written family --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_SOFTMAX_H
#define LLMOPT_CODEGEN_CUDA_SOFTMAX_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "rows" around a softmax over f32 as an instance of softmax.cuh, with the rest of the region printed. Nothing where it does not fit.
Result<std::optional<LoweredDeviceKernel>> lowerSoftmax(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_SOFTMAX_H
