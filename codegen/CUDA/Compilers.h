//===- Compilers.h - the compilers behind DeviceCompiler --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_COMPILERS_H
#define LLMOPT_CODEGEN_CUDA_COMPILERS_H

#include "codegen/CUDA/DeviceCompiler.h"

namespace llmopt::cuda {

/// Each looks for what it needs; the error says where.
Result<std::unique_ptr<DeviceCompiler>> makeNvrtc();
Result<std::unique_ptr<DeviceCompiler>> makeClang();
Result<std::unique_ptr<DeviceCompiler>> makeNvcc();
Result<std::unique_ptr<DeviceCompiler>> makeLlvm();
Result<std::unique_ptr<DeviceCompiler>> makeEmulator();

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_COMPILERS_H
