//===- VerifyShapes.h - comparing declared shapes ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verifiers look at types alone: a dimension that is `?` goes with everything.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_VERIFYSHAPES_H
#define LLMOPT_DIALECTS_LLM_VERIFYSHAPES_H

#include "llmopt/dialects/LLM/LLM.h"

namespace llmopt::llm {

using StaticDims = llvm::SmallVector<int64_t, 4>;

inline llvm::ArrayRef<int64_t> dimsOf(mlir::Value value) { return mlir::cast<mlir::RankedTensorType>(value.getType()).getShape(); }
inline mlir::Type elementOf(mlir::Value value) { return mlir::cast<mlir::RankedTensorType>(value.getType()).getElementType(); }
inline int64_t rankOf(mlir::Value value) { return int64_t(dimsOf(value).size()); }

/// Both may be the same number.
inline bool agree(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) || mlir::ShapedType::isDynamic(b) || a == b;
}
bool agree(llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b);
/// "[2, ?]"
std::string printDims(llvm::ArrayRef<int64_t> dims);

/// The broadcast of two shapes; nothing if they cannot go together.
std::optional<StaticDims> broadcastDims(llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b);
/// Fails with a message unless the result may have the expected shape.
mlir::LogicalResult expectShape(mlir::Operation *op, mlir::Value result, llvm::ArrayRef<int64_t> expected);
/// Fails unless 0 <= axis < rank.
mlir::LogicalResult expectAxis(mlir::Operation *op, int64_t axis, int64_t rank);
/// Fails unless axes rise and lie in 0 .. rank - 1.
mlir::LogicalResult expectSortedAxes(mlir::Operation *op, llvm::ArrayRef<int64_t> axes, int64_t rank);
mlir::LogicalResult expectSameElements(mlir::Operation *op, mlir::Value a, mlir::Value b);

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_VERIFYSHAPES_H
