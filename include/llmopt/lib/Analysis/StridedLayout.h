//===- StridedLayout.h - where elements lie behind views --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Transpositions, reshapes and slices move no element as long as somebody reads through them:
//
//   %s = llm.slice %x [.., 0:64]; %r = llm.reshape %s [B, S, 4, 16]; %t = llm.transpose %r [0, 2, 1, 3]
//
// element [b, h, s, d] of %t lies in %x at b * S * 192 + h * 16 + s * 192 + d. A kernel that takes strides needs no copy.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_STRIDEDLAYOUT_H
#define LLMOPT_LIB_ANALYSIS_STRIDEDLAYOUT_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

namespace llmopt {

struct StridedLayout {
  llvm::SmallVector<SymExpr, 4> dims, strides;
  SymExpr offset;

  /// A buffer whose elements lie in row-major order.
  static StridedLayout rowMajor(SymContext &symbols, llvm::ArrayRef<SymExpr> dims);
};

/// Operations a StridedLayout can be taken through.
bool movesNothing(mlir::Operation *op);

/// The layout of `value`'s elements in the buffer of `source`, of which it is made by operations that move nothing; nothing where
/// strides cannot say it.
std::optional<StridedLayout> layoutInSource(mlir::Value value, mlir::Value source, ShapeAnalysis &shapes);

/// The layout that `source`'s elements must have for `value`, made of it without slices, to be row-major.
std::optional<StridedLayout> layoutForResult(mlir::Value source, mlir::Value value, ShapeAnalysis &shapes);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_STRIDEDLAYOUT_H
