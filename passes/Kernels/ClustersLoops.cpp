//===- ClustersLoops.cpp - what is computed where it is read ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.slice %x; %r = llm.reshape %s; %t = llm.transpose %r; %y = llm.mul %t, %c    ==>    one nest over %y that reads %x
//
// Loop nests and norms pull their operands' elements, so a producer with one reader can move into the reader's kernel, views
// between them included. An element that is read often (a mask for all heads) is computed again each time: that is
// allowed for cheap operations only, and for few of them.
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;
using llm::isView;

namespace {

constexpr int kMostRepeated = 8;

bool isElementwise(Operation *op) { return op->hasTrait<llm::Elementwise>(); }

/// Loop kernels that stand alone: they walk slices along an axis, or are too heavy to be computed per element of a reader.
bool standsAlone(Operation *op) {
  return isa<llm::TopKOp, llm::ScatterElementsOp, llm::ScatterNDOp, llm::CumSumOp, llm::ConvOp, llm::WindowsOp, llm::MatMulOp>(op);
}

/// Moves elements without computing any.
bool onlyMoves(Operation *op) {
  return isa<llm::TransposeOp, llm::BroadcastOp, llm::TileOp, llm::SliceOp, llm::ConcatOp, llm::PadOp, llm::GatherOp,
             llm::GatherElementsOp, llm::GatherNDOp, llm::EmbeddingOp, llm::RangeOp, llm::ShapeOp, llm::WindowsOp>(op);
}

/// A few instructions an element.
bool isCheap(Operation *op) {
  return onlyMoves(op) ||
         isa<llm::NegOp, llm::AbsOp, llm::ReluOp, llm::NotOp, llm::CastOp, llm::AddOp, llm::SubOp, llm::MulOp, llm::MinOp, llm::MaxOp,
             llm::AndOp, llm::OrOp, llm::XorOp, llm::CompareOp, llm::SelectOp>(op);
}

/// Reads each element of operand `index` at most once.
bool readsOnce(Operation *reader, unsigned index, ShapeAnalysis &shapes) {
  if (isElementwise(reader)) {
    auto dims = shapes.shapeOf(reader->getOperand(index)).dims, result = shapes.shapeOf(reader->getResult(0)).dims;
    return dims.size() == result.size() &&
           llvm::all_of(llvm::zip(dims, result), [](auto pair) { return std::get<0>(pair) == std::get<1>(pair); });
  }
  if (isa<llm::TransposeOp, llm::ConcatOp>(reader))
    return true;
  return index == 0 && isa<llm::SliceOp, llm::PadOp, llm::ReduceOp, llm::LayerNormOp, llm::RMSNormOp, llm::SoftmaxOp>(reader);
}

/// Whether coordinates of the view's result lead to those of its input without a division in the innermost loop.
bool keepsRuns(Operation *view, ShapeAnalysis &shapes) {
  auto from = shapes.shapeOf(view->getOperand(0)).dims, to = shapes.shapeOf(view->getResult(0)).dims;
  auto last = [](auto &dims) {
    while (!dims.empty() && dims.back().isConstant(1))
      dims.pop_back();
    return dims.empty() ? SymExpr() : dims.back();
  };
  SymExpr input = last(from), result = last(to);
  if (!input.known() || !result.known())
    return true; // single elements
  if (input == result)
    return true;
  return result.constant() && *result.constant() > 0 && input.constant() && *input.constant() % *result.constant() == 0;
}

} // namespace

/// The one operation that reads a value, seen through views.
struct Clusters::Reader {
  Operation *op = nullptr;
  unsigned operand = 0;
  bool twice = false; ///< more than one of its operands
  SmallVector<Operation *, 2> views; ///< on the way, from the value to the reader
};

Clusters::Reader Clusters::soleReader(Operation *op) const {
  Reader reader;
  Value value = op->getNumResults() == 1 ? op->getResult(0) : Value();
  while (value && !value.use_empty()) {
    OpOperand &first = *value.getUses().begin();
    Operation *user = first.getOwner();
    if (llvm::any_of(value.getUsers(), [&](Operation *other) { return other != user; }))
      return {};
    if (!isView(user)) {
      reader.op = user;
      reader.operand = first.getOperandNumber();
      reader.twice = !value.hasOneUse();
      return reader;
    }
    if (first.getOperandNumber() != 0 || of(user) >= 0 || !keepsRuns(user, shapes_))
      return {};
    reader.views.push_back(user);
    value = user->getResult(0);
  }
  return {};
}

// `why` is said where reader and operation are of a kind that joins.
bool Clusters::mayPull(Operation *op, const Reader &reader, StringRef &why) {
  int cluster = reader.op ? of(reader.op) : -1;
  if (cluster < 0 || standsAlone(reader.op) || !(isElementwise(op) || onlyMoves(op)))
    return false;
  const Cluster &into = clusters_[size_t(cluster)];
  if (into.alone || (into.family != "loops" && into.family != "rows"))
    return false;
  if (into.ops.size() + reader.views.size() >= kMostOps) {
    why = "the kernel is full";
    return false;
  }
  // A norm's own scale and bias are read for each row.
  bool isNorm = isa<llm::LayerNormOp, llm::RMSNormOp, llm::SoftmaxOp>(reader.op);
  if (isNorm && reader.operand != 0)
    return false;
  // Two operands of an elementwise operation read the same element; two parts of a concatenation do not.
  bool once = readsOnce(reader.op, reader.operand, shapes_) && (!reader.twice || isElementwise(reader.op));
  if (once && !repeated_.contains(reader.op))
    return true;
  if (!isCheap(op) || repeatedIn_[cluster] >= kMostRepeated) {
    why = isCheap(op) ? "the kernel computes many values more than once already" : "its elements are read more than once, and it costs too much to compute it each time";
    return false;
  }
  repeated_.insert(op);
  ++repeatedIn_[cluster];
  return true;
}

// From the last operation to the first: whoever reads is placed before whoever is read.
void Clusters::clusterLoops() {
  for (Operation *op : llvm::reverse(order_)) {
    if (of(op) >= 0)
      continue;
    Reader reader = wants("join-producers") ? soleReader(op) : Reader();
    StringRef why;
    if (!mayPull(op, reader, why)) {
      add(op, "loops");
      if (!why.empty())
        explainApart("join-producers", op, reader.op, why, "nothing: a kernel of its own is cheaper");
      continue;
    }
    int cluster = of(reader.op);
    noteJoin("join-producers", op, reader.op);
    for (Operation *view : reader.views)
      put(view, cluster);
    put(op, cluster);
  }
}
