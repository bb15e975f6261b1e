//===- PatternLog.cpp - what patterns did and nearly did --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Rewriting/PatternLog.h"

#include "llmopt/dialects/LLM/SourceName.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

StringRef llmopt::patternName(const Pattern &pattern) {
  return pattern.getDebugLabels().empty() ? pattern.getDebugName() : pattern.getDebugLabels().front();
}

void PatternLog::notifyPatternBegin(const Pattern &pattern, Operation *op) {
  pattern_ = &pattern;
  root_ = op;
  if (auto it = refusals_.find(op); it != refusals_.end())
    it->second.erase(&pattern);
  inserted_.clear();
  replacements_.clear();
  next_.fusion = {};
}

void PatternLog::notifyMatchFailure(Location loc, function_ref<void(Diagnostic &)> describe) {
  if (!pattern_)
    return;
  Diagnostic diagnostic(loc, DiagnosticSeverity::Remark);
  describe(diagnostic);
  if (diagnostic.getMetadata().size() < 2 || diagnostic.getNotes().empty())
    return; // not a candidate
  Refusal refusal;
  refusal.fusion = patternName(*pattern_);
  refusal.kind = diagnostic.getMetadata()[0].getAsString().str();
  refusal.blockerOp = diagnostic.getMetadata()[1].getAsString().str();
  refusal.blockerNode = llm::sourceNameOrLine(loc);
  refusal.reason = diagnostic.str();
  refusal.change = diagnostic.getNotes().begin()->str();
  refusals_[root_][pattern_] = std::move(refusal);
}

void PatternLog::notifyOperationInserted(Operation *op, OpBuilder::InsertPoint) {
  inserted_.push_back(op);
}

void PatternLog::notifyOperationReplaced(Operation *op, ValueRange values) {
  if (op != root_)
    return;
  // Said before the root goes, which may be gone when the pattern ends.
  next_ = {patternName(*pattern_), op->getName().getStringRef(), llm::sourceNameOrLine(op->getLoc())};
  for (Value value : values)
    if (Operation *product = value.getDefiningOp())
      replacements_.push_back(product);
}

void PatternLog::notifyPatternEnd(const Pattern &pattern, LogicalResult status) {
  if (succeeded(status) && !next_.fusion.empty())
    for (Operation *product : replacements_)
      if (llvm::is_contained(inserted_, product))
        products_[product] = next_;
  pattern_ = nullptr;
  root_ = nullptr;
  next_.fusion = {};
}

void PatternLog::notifyOperationErased(Operation *op) {
  refusals_.erase(op);
  products_.erase(op);
  llvm::erase(inserted_, op);
}

llvm::StringMap<int64_t> PatternLog::countMade() const {
  llvm::StringMap<int64_t> counts;
  for (const auto &[op, product] : products_)
    ++counts[product.fusion];
  return counts;
}

void PatternLog::emitRemarks(Operation *root) const {
  root->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto it = products_.find(op); it != products_.end())
      remark::passed(op->getLoc(), remark::RemarkOpts::name(it->second.fusion).category("fusion"))
          << remark::metric("Op", op->getName().getStringRef().str()) << remark::metric("Root", it->second.rootOp.str());
    if (auto it = refusals_.find(op); it != refusals_.end())
      for (const auto &[pattern, refusal] : it->second)
        remark::missed(op->getLoc(), remark::RemarkOpts::name(refusal.fusion).category("fusion"))
            << remark::reason("{0}", refusal.reason) << remark::suggest("{0}", refusal.change) << remark::metric("Kind", refusal.kind)
            << remark::metric("Root", op->getName().getStringRef().str()) << remark::metric("Blocker", refusal.blockerOp)
            << remark::metric("BlockerNode", refusal.blockerNode);
  });
}
