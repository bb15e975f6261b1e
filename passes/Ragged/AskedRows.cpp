//===- AskedRows.cpp - behind the last attention, the rows asked for --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %o = llm.linear %attention, %w                          %a = llm.gather %attention, %logit_rows {axis = 0}
//   %h = llm.add %x, %o                                     %o = llm.linear %a, %w
//   %y = llm.add %h, mlp(norm(%h))                  ==>     %b = llm.gather %x, %logit_rows {axis = 0}
//   %r = llm.gather %y, %logit_rows {axis = 0}              %h = llm.add %b, %o
//                                                           %y = llm.add %h, mlp(norm(%h))
// What is computed token by token, and read for the rows of the logits alone, is computed for those rows alone. That is all of the last layer behind its
// attention: a prompt asks for the logits of its last token.
//
//===----------------------------------------------------------------------===//
#include "TokenAxis.h"

#include "llmopt/passes/Ragged.h"

#include "mlir/Pass/Pass.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

namespace llmopt {
#define GEN_PASS_DEF_ASKEDROWSPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;
using llm::isWeightExpression;

namespace {

class RowMover {
public:
  RowMover(func::FuncOp function, Value rows) : block_(function.getBody().front()), rows_(rows), shapes_(symbols_) { shapes_.run(function); }

  void run() {
    while (findMoved()) {
    }
    if (llvm::none_of(moved_, [](Operation *op) { return isa<llm::LinearOp, llm::MatMulOp, llm::GroupedLinearOp>(op); }))
      return; // nothing that would be worth another gather
    for (Operation &op : llvm::make_early_inc_range(block_))
      if (moved_.contains(&op))
        readChosen(&op);
      else if (auto gather = chosenRows(&op); gather && isMoved(gather.getInput()))
        drop(gather);
  }

private:
  llm::GatherOp chosenRows(Operation *op) const {
    auto gather = dyn_cast<llm::GatherOp>(op);
    return gather && gather.getIndices() == rows_ && gather.getAxis() == 0 ? gather : llm::GatherOp();
  }
  bool isMoved(Value value) const { return moved_.contains(value.getDefiningOp()); }
  bool hasTokens(Value value) { return tokenAxis(value, shapes_) == 0; }

  /// From the last operation to the first, so that what an operation's users are is known when it is asked. True if that has to be done again, without
  /// operations that must not be taken alone.
  bool findMoved() {
    moved_.clear();
    for (Operation &op : llvm::reverse(block_.without_terminator()))
      if (!staying_.contains(&op) && !op.use_empty() && llvm::all_of(op.getUsers(), [&](Operation *user) { return moved_.contains(user) || chosenRows(user); }) &&
          worksOnTokens(&op))
        moved_.insert(&op);
    size_t before = staying_.size();
    for (Operation *op : moved_)
      if (bool isFirstView = llm::isView(op) && !isMoved(op->getOperand(0)), // costs nothing, and hides the gather from whoever reads it
          isWithoutGroups = isa<llm::GroupedLinearOp>(op) && !(isMoved(op->getOperand(2)) && isMoved(op->getOperand(3)));
          isFirstView || isWithoutGroups)
        staying_.insert(op);
    return staying_.size() > before;
  }

  /// Computes the part of a token from the same token's parts and from weights.
  bool worksOnTokens(Operation *op) {
    if (isa<llm::GroupRowsOp>(op)) // its order is for those who read the same rows
      return hasTokens(op->getOperand(0));
    if (auto grouped = dyn_cast<llm::GroupedLinearOp>(op))
      return hasTokens(grouped.getInput()) && isWeightExpression(grouped.getWeight());
    if (isa<llm::PagedAttentionOp, llm::CacheAppendOp, llm::RopeOp>(op) || !isMemoryEffectFree(op) || op->getNumRegions() != 0)
      return false;
    bool any = false;
    for (Value operand : op->getOperands())
      if (!isWeightExpression(operand)) {
        if (!hasTokens(operand))
          return false;
        any = true;
      }
    if (auto best = dyn_cast<llm::TopKOp>(op))
      return any && best.getAxis() != 0;
    return any && op->getNumResults() == 1 && hasTokens(op->getResult(0)) && keepsTokensApart(op, shapes_);
  }

  void readChosen(Operation *op) {
    for (OpOperand &use : op->getOpOperands()) {
      Value value = use.get();
      if (isWeightExpression(value) || isMoved(value))
        continue;
      auto [it, isNew] = chosen_.try_emplace(value);
      if (isNew) {
        OpBuilder builder(op);
        it->second = llm::GatherOp::create(builder, value.getLoc(), value.getType(), value, rows_, /*axis=*/0);
      }
      use.set(it->second);
    }
  }

  void drop(llm::GatherOp gather) {
    gather.replaceAllUsesWith(gather.getInput());
    gather.erase();
  }

  Block &block_;
  Value rows_;
  SymContext symbols_;
  ShapeAnalysis shapes_;
  llvm::SetVector<Operation *> moved_;
  llvm::DenseSet<Operation *> staying_;
  llvm::DenseMap<Value, Value> chosen_;
};

class AskedRowsPass : public llmopt::impl::AskedRowsPassBase<AskedRowsPass> {
public:
  void runOnOperation() override {
    for (BlockArgument argument : getOperation().getArguments())
      if (auto name = getOperation().getArgAttrOfType<StringAttr>(argument.getArgNumber(), "llm.name"); name && name.getValue() == "logit_rows")
        return RowMover(getOperation(), argument).run();
  }
};

} // namespace

std::unique_ptr<Pass> llmopt::createAskedRowsPass() { return std::make_unique<AskedRowsPass>(); }
