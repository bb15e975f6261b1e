//===- Rope.h - rotary positions as text ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_ROPE_H
#define LLMOPT_CODEGEN_CUDA_ROPE_H

#include "llmopt/dialects/LLM/LLM.h"

#include <string>

namespace llmopt::cuda {

/// Members of a Problem: numbers, flags, functions without arguments.
std::string constantText(const char *name, int64_t value);
std::string flagText(const char *name, bool value);
std::string functionText(const char *name, const llvm::APFloat &value);

/// What kernels/rope.cuh asks a Problem for; `rope` may be null.
std::string ropeText(llm::RopeOp rope);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_ROPE_H
