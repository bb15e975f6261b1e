//===- RewriteVerifier.h - replays pattern applications --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A listener of the greedy driver (--verify-rewrites). Before a pattern may touch an operation, what the operation computes is copied
// into a function of its own, some way up its operands. After an application, what the pattern made takes the operation's place in
// a second copy, and both run on sample inputs in the reference interpreter.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_REWRITING_REWRITEVERIFIER_H
#define LLMOPT_PASSES_REWRITING_REWRITEVERIFIER_H

#include "llmopt/lib/Support/Status.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <optional>
#include <string>

namespace llmopt {

class RewriteVerifier : public mlir::RewriterBase::ForwardingListener {
public:
  /// Whatever is heard goes to `next` as well, if there is one.
  explicit RewriteVerifier(mlir::OpBuilder::Listener *next);
  ~RewriteVerifier() override;

  /// The first application that changed a result: pattern, operation, source node, difference.
  const std::optional<std::string> &failure() const { return failure_; }
  int64_t replayed() const { return replayed_; }
  /// Applications that no sample could be made for: too large, sizes that depend on data, state.
  int64_t skipped() const { return skipped_; }
  /// The first of those: where, and why.
  const std::string &firstSkip() const { return firstSkip_; }

  void notifyPatternBegin(const mlir::Pattern &pattern, mlir::Operation *op) override;
  void notifyPatternEnd(const mlir::Pattern &pattern, mlir::LogicalResult status) override;
  void notifyOperationInserted(mlir::Operation *op, mlir::OpBuilder::InsertPoint previous) override;
  void notifyOperationModified(mlir::Operation *op) override;
  void notifyOperationReplaced(mlir::Operation *op, mlir::Operation *replacement) override;
  void notifyOperationReplaced(mlir::Operation *op, mlir::ValueRange values) override;
  void notifyOperationErased(mlir::Operation *op) override;

private:
  struct Snapshot;
  enum class Outcome { Same, Different, Skipped };
  Outcome replay(std::string &why);

  std::unique_ptr<Snapshot> snapshot_;
  mlir::Operation *root_ = nullptr; ///< of the snapshot; null: it is out of date
  std::string rootText_;
  bool inPattern_ = false;
  llvm::DenseSet<mlir::Operation *> made_; ///< by the application in progress, or modified by it
  /// What the snapshot computes, and the value that stands for it now.
  llvm::SmallVector<std::pair<mlir::Value, mlir::Value>> replaced_;
  std::optional<std::string> failure_;
  int64_t replayed_ = 0, skipped_ = 0;
  std::string firstSkip_;
};

} // namespace llmopt

#endif // LLMOPT_PASSES_REWRITING_REWRITEVERIFIER_H
