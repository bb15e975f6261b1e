//===- Explain.h - why a pattern did not fire -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A pattern that meets an operation which is none of its business says so with `notifyMatchFailure`: that is for pattern
// authors. Once at least half of what it looks for is there, the user wants to know what stood in the way:
//
//   return missed(rewriter, softmax, Miss::MultiUse, "the weights are used elsewhere as well", "do not return the attention weights");
//
// What is still missed when the pass ends becomes an optimization remark (category "fusion"), which `--explain` prints.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_EXPLAIN_H
#define LLMOPT_PASSES_EXPLAIN_H

#include "mlir/IR/PatternMatch.h"

namespace llmopt {

/// Kinds of obstacles, so that tests and tools need not read sentences.
enum class Miss {
  MultiUse,      ///< a value inside is read elsewhere as well
  TypeMismatch,  ///< an element type no kernel takes, or two that differ
  ShapeMismatch, ///< ranks or sizes differ
  ShapeUnknown,  ///< not proven from what is known about the shapes
  OtherAxis,     ///< the right operation along another axis
  OtherConstant, ///< a number is not the one of the formula
  NotConstant,   ///< a number or weight was expected, this is computed
  OtherOperand,  ///< an operand is not the value it has to be
  OtherOp,       ///< another operation where a certain one was expected
};
llvm::StringRef missName(Miss kind);

/// Refuses a candidate that matched at least half. `blocker` is the operation that stands in the way, `reason` what is wrong with
/// it, `change` what the user can do.
mlir::LogicalResult missed(mlir::RewriterBase &rewriter, mlir::Operation *blocker, Miss kind, const llvm::Twine &reason,
                           const llvm::Twine &change);
/// The same about a value, which may be an argument.
mlir::LogicalResult missed(mlir::RewriterBase &rewriter, mlir::Value blocker, Miss kind, const llvm::Twine &reason,
                           const llvm::Twine &change);
inline mlir::LogicalResult missed(mlir::RewriterBase &rewriter, mlir::OpState blocker, Miss kind, const llvm::Twine &reason,
                                  const llvm::Twine &change) {
  return missed(rewriter, blocker.getOperation(), kind, reason, change);
}

} // namespace llmopt

#endif // LLMOPT_PASSES_EXPLAIN_H
