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
  next_.clear();
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
  next_ = {{patternName(*pattern_), op->getName().getStringRef(), llm::sourceNameOrLine(op->getLoc())}};
  if (auto before = products_.find(op); before != products_.end())
    llvm::copy_if(before->second, std::back_inserter(next_), [&](const Product &product) { return product.fusion != next_[0].fusion; });
  for (Value value : values)
    if (Operation *product = value.getDefiningOp())
      replacements_.push_back(product);
}

void PatternLog::notifyPatternEnd(const Pattern &pattern, LogicalResult status) {
  if (succeeded(status))
    for (Operation *product : replacements_)
      if (llvm::is_contained(inserted_, product))
        products_[product] = next_;
  pattern_ = nullptr;
  root_ = nullptr;
  next_.clear();
}

void PatternLog::notifyOperationErased(Operation *op) {
  refusals_.erase(op);
  products_.erase(op);
  llvm::erase(inserted_, op);
}

llvm::StringMap<int64_t> PatternLog::countMade() const {
  llvm::StringMap<int64_t> counts;
  for (const auto &[op, products] : products_)
    for (const Product &product : products)
      ++counts[product.fusion];
  return counts;
}

void PatternLog::emitRemarks(Operation *root) const {
  root->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto it = products_.find(op); it != products_.end())
      for (const Product &product : it->second)
        remark::passed(op->getLoc(), remark::RemarkOpts::name(product.fusion).category("fusion"))
            << remark::metric("Op", op->getName().getStringRef().str()) << remark::metric("Root", product.rootOp.str());
    if (auto it = refusals_.find(op); it != refusals_.end())
      for (const auto &[pattern, refusal] : it->second)
        remark::missed(op->getLoc(), remark::RemarkOpts::name(refusal.fusion).category("fusion"))
            << remark::reason("{0}", refusal.reason) << remark::suggest("{0}", refusal.change) << remark::metric("Kind", refusal.kind)
            << remark::metric("Root", op->getName().getStringRef().str()) << remark::metric("Blocker", refusal.blockerOp)
            << remark::metric("BlockerNode", refusal.blockerNode);
  });
}
