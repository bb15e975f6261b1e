//===- PatternLog.h - what patterns did and nearly did --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A listener of the greedy driver. Patterns are tried again and again until nothing changes, so a refusal counts only if it is
// the last word on an operation that is still there, and a fusion only if its product is.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_REWRITING_PATTERNLOG_H
#define LLMOPT_PASSES_REWRITING_PATTERNLOG_H

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

#include <string>

namespace llmopt {

/// The name users know a pattern by: its first debug label.
llvm::StringRef patternName(const mlir::Pattern &pattern);

class PatternLog : public mlir::RewriterBase::Listener {
public:
  /// Emits a remark for each fusion made and each candidate missed below `root`, in the order of operations.
  void emitRemarks(mlir::Operation *root) const;
  /// How many products of each fusion are there.
  llvm::StringMap<int64_t> countMade() const;

  void notifyPatternBegin(const mlir::Pattern &pattern, mlir::Operation *op) override;
  void notifyPatternEnd(const mlir::Pattern &pattern, mlir::LogicalResult status) override;
  void notifyMatchFailure(mlir::Location loc, llvm::function_ref<void(mlir::Diagnostic &)> describe) override;
  void notifyOperationInserted(mlir::Operation *op, mlir::OpBuilder::InsertPoint previous) override;
  void notifyOperationReplaced(mlir::Operation *op, mlir::ValueRange values) override;
  void notifyOperationErased(mlir::Operation *op) override;

private:
  struct Refusal {
    llvm::StringRef fusion; ///< the pattern may be gone when remarks are emitted
    std::string kind, reason, change, blockerOp, blockerNode;
  };
  struct Product {
    llvm::StringRef fusion, rootOp;
    std::string rootNode;
  };

  llvm::DenseMap<mlir::Operation *, llvm::MapVector<const mlir::Pattern *, Refusal>> refusals_;
  /// Of each fusion that made the operation: one may refine what another made.
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<Product, 1>> products_;
  // Of the application in progress.
  const mlir::Pattern *pattern_ = nullptr;
  mlir::Operation *root_ = nullptr;
  llvm::SmallVector<Product, 1> next_;
  llvm::SmallVector<mlir::Operation *> inserted_, replacements_;
};

} // namespace llmopt

#endif // LLMOPT_PASSES_REWRITING_PATTERNLOG_H
