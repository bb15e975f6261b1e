//===- TokenAxis.h - proof that tokens are kept apart -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_RAGGED_TOKENAXIS_H
#define LLMOPT_PASSES_RAGGED_TOKENAXIS_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>

namespace llmopt::ragged {

/// An operation that stands in the way, and why.
struct Obstacle {
  mlir::Operation *op = nullptr;
  std::string reason;
};

/// The dimension of a value that counts the tokens of a step: -1 none; nothing where tokens are mixed into a larger dimension
/// or occur twice.
std::optional<int64_t> tokenAxis(mlir::Value value, ShapeAnalysis &shapes);

/// Whether an operation of one result, with tokens in one of its operands, computes the part of a token from the same token's parts alone. What it is told about
/// sizes is not looked at.
bool keepsTokensApart(mlir::Operation *op, ShapeAnalysis &shapes);

/// Checks that each operation computes the part of a token from the same token's parts alone. (Attention over the cache and writing to it
/// look at the step table instead.) Then flat tokens of many sequences may stand where the tokens of one stood.
std::optional<Obstacle> findTokenMixing(mlir::func::FuncOp function, ShapeAnalysis &shapes);

} // namespace llmopt::ragged

#endif // LLMOPT_PASSES_RAGGED_TOKENAXIS_H
