//===- KernelSources.h - the kernel sources inside the compiler -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_KERNELSOURCES_H
#define LLMOPT_CODEGEN_CUDA_KERNELSOURCES_H

#include <span>
#include <string_view>

namespace llmopt::cuda {

/// A file of codegen/CUDA/kernels, which units include by name.
struct KernelSource {
  std::string_view name, text;
};

std::span<const KernelSource> kernelSources();

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_KERNELSOURCES_H
