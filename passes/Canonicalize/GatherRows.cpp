//===- GatherRows.cpp - rows of a table, element by element ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %t = repeat %table   [1, N, D] -> [B, N, D]
//   %i = repeat %rows    [B, S, 1] -> [B, S, D]             ==>   %y = llm.gather %table, %rows {axis = 0}   [B, S, D]
//   %y = llm.gather_elements %t, %i {axis = 1}
//
// as torch.gather reads a table of positions.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llmopt;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// What is repeated, or the value itself.
static Value once(Value value) {
  Operation *op = value.getDefiningOp();
  return isa_and_nonnull<llm::TileOp, llm::BroadcastOp>(op) && typeOf(op->getOperand(0)).getRank() == typeOf(value).getRank() ? op->getOperand(0) : value;
}

/// One matrix, whatever its repetition was for.
static bool isMatrix(Value table, Value repeated) {
  auto type = typeOf(table), wide = typeOf(repeated);
  if (!type.hasStaticShape() || type.getRank() < 2 || !llm::isWeightExpression(table))
    return false;
  auto sizes = type.getShape().take_back(2);
  return type.getNumElements() == sizes[0] * sizes[1] && sizes == wide.getShape().take_back(2);
}

static void makeGather(llm::GatherElementsOp op, ShapeAnalysis &shapes) {
  Value table = once(op.getInput()), rows = once(op.getIndices());
  int64_t rank = typeOf(op).getRank();
  if (op.getAxis() != uint64_t(rank - 2) || !isMatrix(table, op.getInput()) || typeOf(rows).getShape().back() != 1 ||
      typeOf(op).getShape().back() != typeOf(table).getShape().back())
    return;
  auto before = shapes.shapeOf(rows).dims, after = shapes.shapeOf(op.getIndices()).dims;
  for (int64_t i = 0; i < rank - 1; ++i) // repeated along the last dimension alone
    if (!(before[size_t(i)] == after[size_t(i)]))
      return;
  OpBuilder builder(op);
  Value matrix = reshapeWeight(builder, table, typeOf(table).getShape().take_back(2));
  auto numbers = RankedTensorType::get(typeOf(rows).getShape().drop_back(), typeOf(rows).getElementType());
  Value indices = llm::SqueezeOp::create(builder, op.getLoc(), numbers, rows, builder.getDenseI64ArrayAttr({rank - 1}));
  op.replaceAllUsesWith(llm::GatherOp::create(builder, op.getLoc(), op.getType(), matrix, indices, 0).getResult());
  op.erase();
}

void llmopt::gatherRows(func::FuncOp function) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  function.walk([&](llm::GatherElementsOp op) { makeGather(op, shapes); });
}
