//===- GroupRows.h - rows sorted by expert ----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_GROUPROWS_H
#define LLMOPT_CODEGEN_CUDA_GROUPROWS_H

#include "codegen/CUDA/LowerKernel.h"

#include <optional>

namespace llmopt::cuda {

/// A kernel of family "group_rows" by group_rows.cuh. Nothing where it does not fit.
Result<std::optional<LoweredDeviceKernel>> lowerGroupRows(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_GROUPROWS_H
