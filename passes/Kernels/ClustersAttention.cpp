//===- ClustersAttention.cpp - attention reads and writes in place -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.slice %qkv; %r = llm.reshape %s [B, S, H, D]; %q = llm.transpose %r [0, 2, 1, 3]
//   %a = llm.attention %q, ..; %y = llm.transpose %a [0, 2, 1, 3]
// are one kernel that reads %qkv and writes %y, both with strides.
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/StridedLayout.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;
using llm::isWeightExpression;

/// Attention kernels take rows of features without gaps, a constant number of elements apart.
static bool isTakenByAttention(const std::optional<StridedLayout> &layout) {
  return layout && layout->dims.size() == 4 && layout->offset.known() && layout->strides[0].known() && layout->strides[1].known() &&
         layout->strides[2].constant() && (layout->strides[3].isConstant(1) || layout->dims[3].isConstant(1));
}

static constexpr StringLiteral kOtherLayout = "on its other side a head's features do not lie side by side, a constant distance from token to token",
                               kOneLayout = "keep the features of a head together: [batch, tokens, heads, size] or [batch, heads, tokens, size]";

/// Operations above `operands` that move nothing and that nobody but `reader` reads.
SmallVector<Operation *> Clusters::movesReadOnlyBy(Operation *reader, ValueRange operands) {
  llvm::SetVector<Operation *> moves;
  SmallVector<Value> work(operands);
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (op && movesNothing(op) && of(op) < 0 && op->getBlock() == reader->getBlock() && !isWeightExpression(op->getResult(0)) && moves.insert(op))
      work.push_back(op->getOperand(0));
  }
  size_t before;
  do {
    before = moves.size();
    moves.remove_if([&](Operation *op) {
      return llvm::any_of(op->getUsers(), [&](Operation *user) { return user != reader && !moves.contains(user); });
    });
  } while (moves.size() < before);
  return moves.takeVector();
}

void Clusters::absorbLayouts(int cluster) {
  auto attention = cast<llm::AttentionOp>(clusters_[size_t(cluster)].ops.front());
  ValueRange operands = attention->getOperands().take_front(3);
  SmallVector<Operation *> moves = movesReadOnlyBy(attention, operands);
  for (Value operand : operands) {
    SmallVector<Operation *> chain;
    Value source = operand;
    while (llvm::is_contained(moves, source.getDefiningOp())) {
      chain.push_back(source.getDefiningOp());
      source = chain.back()->getOperand(0);
    }
    Operation *left = nullptr;
    for (; !chain.empty() && !isTakenByAttention(layoutInSource(operand, chain.back()->getOperand(0), shapes_)); chain.pop_back())
      left = isOutside(chain.back()) ? left : chain.back();
    if (left)
      explainApart("join-layouts", left, attention, kOtherLayout, kOneLayout);
    for (Operation *op : chain)
      if (of(op) < 0) {
        put(op, cluster);
        noteJoin("join-layouts", op, attention);
      }
  }
}

/// `chain` of views and transpositions leads from attention to `value`, and none of it was taken.
void Clusters::explainResultLayout(ArrayRef<Operation *> chain, Value value) {
  auto moves = [&](Operation *op) { return isa<llm::TransposeOp>(op) && of(op) < 0 && !isOutside(op); };
  auto user = llvm::find_if(value.getUsers(), moves);
  if (auto left = llvm::find_if(chain, moves); left != chain.end())
    explainApart("join-layouts", (*left)->getOperand(0).getDefiningOp(), *left, kOtherLayout, kOneLayout);
  else if (!value.hasOneUse() && user != value.getUsers().end())
    explainApart("join-layouts", value.getDefiningOp(), *user, "the value is read elsewhere as well", "use it once");
}

void Clusters::absorbResultLayout(int cluster) {
  Operation *attention = clusters_[size_t(cluster)].ops.front();
  Value result = attention->getResult(0), value = result;
  SmallVector<Operation *> chain;
  size_t taken = 0;
  while (Operation *user = onlyUser(value)) {
    if (of(user) >= 0 || !movesNothing(user) || isa<llm::SliceOp>(user) || user->getOperand(0) != value)
      break;
    chain.push_back(user);
    value = user->getResult(0);
    if (isa<llm::TransposeOp>(user) && isTakenByAttention(layoutForResult(result, value, shapes_)))
      taken = chain.size();
  }
  if (taken == 0)
    explainResultLayout(chain, value);
  for (Operation *op : ArrayRef(chain).take_front(taken)) {
    put(op, cluster);
    noteJoin("join-layouts", op, attention);
  }
}

/// The tree of moves that `value` is made of, readers before what they read; nothing if it is large.
static SmallVector<Operation *> movesAbove(Value value) {
  constexpr size_t kMost = 24;
  llvm::SetVector<Operation *> moves;
  SmallVector<Value> work{value};
  while (!work.empty() && moves.size() <= kMost) {
    Value next = work.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!op || !(movesNothing(op) || isa<llm::ConcatOp>(op)) || isWeightExpression(next) || op->getBlock() != value.getParentBlock())
      continue;
    moves.insert(op);
    llvm::append_range(work, isa<llm::ConcatOp>(op) ? op->getOperands() : op->getOperands().take_front(1));
  }
  if (moves.size() > kMost)
    return {};
  return SmallVector<Operation *>(moves.getArrayRef());
}

/// Where moves begin above an operand: past scalings that nobody else reads.
static OpOperand *belowMoves(OpOperand *operand) {
  while (Operation *op = operand->get().getDefiningOp()) {
    bool isScaling = isa<llm::MulOp, llm::DivOp>(op) && op->hasOneUse() && isWeightExpression(op->getOperand(1));
    if (!isScaling)
      break;
    operand = &op->getOpOperand(0);
  }
  return operand;
}

static void copyMoves(Operation *reader, OpOperand &operand) {
  SmallVector<Operation *> moves = movesAbove(operand.get());
  bool isShared = llvm::any_of(moves, [&](Operation *move) {
    return llvm::any_of(move->getUsers(), [&](Operation *user) { return user != reader && user != operand.getOwner() && !llvm::is_contained(moves, user); });
  });
  if (!isShared)
    return;
  OpBuilder builder(operand.getOwner());
  IRMapping copies;
  llvm::sort(moves, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  for (Operation *move : moves)
    builder.clone(*move, copies);
  operand.set(copies.lookup(operand.get()));
}

void kernels::copySharedMoves(func::FuncOp function) {
  SmallVector<Operation *> readers;
  for (Operation &op : function.getBody().front())
    if (isa<llm::AttentionOp, llm::MatMulOp>(op))
      readers.push_back(&op);
  for (Operation *reader : readers)
    for (OpOperand &operand : reader->getOpOperands().take_front(isa<llm::MatMulOp>(reader) ? 2 : 3))
      copyMoves(reader, *belowMoves(&operand));
}
