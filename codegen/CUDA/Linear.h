//===- Linear.h - projections by the written families -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_LINEAR_H
#define LLMOPT_CODEGEN_CUDA_LINEAR_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "linear" as instances of gemv.cuh, gemm_mma.cuh and gemm_simt.cuh, by number of rows, with the rest of the region
/// printed as their epilogue. Nothing where none of them fits.
Result<std::optional<LoweredDeviceKernel>> lowerLinear(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                                       const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_LINEAR_H
