//===- CacheAppend.h - writing to the cache by a written kernel -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_CACHEAPPEND_H
#define LLMOPT_CODEGEN_CUDA_CACHEAPPEND_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "cache_append" by kernels/cache_append.cuh; empty where that does not take its region.
Result<std::optional<LoweredDeviceKernel>> lowerCacheAppend(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol);

/// As takesPagedAttention.
bool takesCacheAppend(exec::KernelOp kernel);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_CACHEAPPEND_H
