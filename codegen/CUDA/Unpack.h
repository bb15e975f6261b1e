//===- Unpack.h - kernels that prepare weights when they are loaded -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_UNPACK_H
#define LLMOPT_CODEGEN_CUDA_UNPACK_H

#include "codegen/CUDA/Printer.h"

namespace llmopt::cuda {

/// The kernel that makes rows of panels: DeviceMatrix::unpack.
std::string unpackName(std::string_view layout);

/// Adds the kernels that parameters of the units ask for.
void addUnpackKernels(std::vector<KernelUnit> &units);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_UNPACK_H
