//===- PagedAttention.h - attention over the cache, by a written kernel -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PAGEDATTENTION_H
#define LLMOPT_CODEGEN_CUDA_PAGEDATTENTION_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "paged_attention" by kernels/paged_attention.cuh; empty where that does not take its region.
Result<std::optional<LoweredDeviceKernel>> lowerPagedAttention(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);
/// Whether it takes the region, whatever the shapes turn out to be: a cache of 16 bits lies as written kernels alone have it.
bool takesPagedAttention(exec::KernelOp kernel);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PAGEDATTENTION_H
