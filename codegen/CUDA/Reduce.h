//===- Reduce.h - reductions of rows and of whole tensors -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_REDUCE_H
#define LLMOPT_CODEGEN_CUDA_REDUCE_H

#include "codegen/CUDA/LowerKernel.h"
#include "llmopt/dialects/LLM/LLM.h"

namespace llmopt::cuda {

/// C++ of a reduction's neutral element, and of joining a with b.
struct JoinText {
  std::string begin, join;
};
JoinText joinText(llm::ReduceOp op, const std::string &a, const std::string &b);

/// By kernels/reduce.cuh and arg_reduce.cuh, for reductions over the last axes of more than a few elements; nothing for other regions.
Result<std::optional<LoweredDeviceKernel>> lowerReduce(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_REDUCE_H
