//===- DropNoOps.cpp - operations that change nothing ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters expand tensors to the shape they have and slice [0 : end]. What is dynamic in the types is often equal in
// symbols, so this asks the shape analysis, which folds of the dialect cannot.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

/// An operation that keeps the order of elements and, if the shape is the same, the elements.
static bool keepsElements(Operation *op) {
  if (isa<llm::ReshapeOp, llm::BroadcastOp, llm::TileOp, llm::FlattenOp>(op))
    return true;
  // A slice as long as its input begins at the beginning, unless it runs backwards.
  if (auto slice = dyn_cast<llm::SliceOp>(op))
    return llvm::all_of(slice.getSteps(), [](int64_t step) { return step == 1; });
  auto concat = dyn_cast<llm::ConcatOp>(op);
  return concat && concat.getInputs().size() == 1;
}

static bool isNoOp(Operation *op, ShapeAnalysis &shapes) {
  if (op->getNumResults() != 1 || !keepsElements(op))
    return false;
  Value input = op->getOperand(0), result = op->getResult(0);
  if (input.getType() != result.getType())
    return false;
  ArrayRef<SymExpr> before = shapes.shapeOf(input).dims, after = shapes.shapeOf(result).dims;
  return before.size() == after.size() && llvm::all_of(llvm::zip(before, after), [](auto pair) { return std::get<0>(pair) == std::get<1>(pair); });
}

/// Where an operation reads indices, of 32 or 64 bits.
static OpOperand *indexOperand(Operation *op) {
  if (isa<llm::RopeOp, llm::GatherOp>(op))
    return &op->getOpOperand(1);
  return isa<llm::EmbeddingOp>(op) ? &op->getOpOperand(0) : nullptr;
}

/// Indices need no widening.
static void readNarrow(Operation *op) {
  OpOperand *indices = indexOperand(op);
  auto cast = indices ? indices->get().getDefiningOp<llm::CastOp>() : llm::CastOp();
  if (cast && getElementTypeOrSelf(cast.getInput().getType()).isSignlessInteger(32) && getElementTypeOrSelf(cast.getType()).isSignlessInteger(64))
    indices->set(cast.getInput());
}

void llmopt::dropNoOps(func::FuncOp function) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  SmallVector<Operation *> dropped;
  function.walk([&](Operation *op) {
    readNarrow(op);
    if (isNoOp(op, shapes))
      dropped.push_back(op);
  });
  for (Operation *op : dropped) {
    op->getResult(0).replaceAllUsesWith(op->getOperand(0));
    op->erase();
  }
}
