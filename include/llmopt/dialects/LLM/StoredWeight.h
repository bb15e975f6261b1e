//===- StoredWeight.h - tensors as a model stores them -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_STOREDWEIGHT_H
#define LLMOPT_DIALECTS_LLM_STOREDWEIGHT_H

#include "mlir/IR/Value.h"

namespace llmopt::llm {

/// A stored tensor, or part of one such as the keys' third of a joined projection.
bool isStoredWeight(mlir::Value value);

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_STOREDWEIGHT_H
