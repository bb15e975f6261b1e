//===- Decompose.h - taking composite operations apart ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_DECOMPOSE_H
#define LLMOPT_DIALECTS_LLM_DECOMPOSE_H

#include "llmopt/dialects/LLM/LLM.h"

namespace llmopt::llm {

/// Replaces every `Decomposable` operation below `root` by its decomposition.
mlir::LogicalResult decomposeAll(mlir::Operation *root);

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_DECOMPOSE_H
