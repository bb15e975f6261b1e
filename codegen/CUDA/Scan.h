//===- Scan.h - running sums along an axis ----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_SCAN_H
#define LLMOPT_CODEGEN_CUDA_SCAN_H

#include "codegen/CUDA/LowerKernel.h"

namespace llmopt::cuda {

/// By kernels/scan.cuh, for running sums of more than a few elements along any axis; nothing for other regions.
Result<std::optional<LoweredDeviceKernel>> lowerScan(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_SCAN_H
