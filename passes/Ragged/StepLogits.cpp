//===- StepLogits.cpp - logits for the rows asked for -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "StepMaker.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

void StepMaker::gatherRows() {
  Value logits = terminator()->getOperand(0);
  SmallVector<Operation *> behind;
  Value source = logits;
  while (Operation *op = rowByRow(source)) {
    behind.push_back(op);
    source = op->getOperand(0);
  }
  builder_.setInsertionPoint(terminator());
  Location loc = logits.getLoc();
  IRMapping mapping;
  auto tokens = typeOf(source);
  auto flat = RankedTensorType::get({ShapedType::kDynamic, tokens.getDimSize(2)}, tokens.getElementType());
  auto first = builder_.getDenseI64ArrayAttr({0});
  Value chosen = llm::GatherOp::create(builder_, loc, flat, llm::SqueezeOp::create(builder_, loc, flat, source, first), step_.getArgument(2), /*axis=*/0);
  mapping.map(source, llm::ExpandDimsOp::create(builder_, loc, tokens.clone({1, ShapedType::kDynamic, tokens.getDimSize(2)}), chosen, first));
  for (Operation *op : llvm::reverse(behind))
    builder_.clone(*op, mapping);
  Value rows = mapping.lookup(logits);
  auto type = typeOf(rows);
  auto matrix = RankedTensorType::get({ShapedType::kDynamic, type.getDimSize(2)}, type.getElementType());
  rows = llm::SqueezeOp::create(builder_, loc, matrix, rows, first);
  if (!type.getElementType().isF32())
    rows = llm::CastOp::create(builder_, loc, RankedTensorType::get(matrix.getShape(), builder_.getF32Type()), rows);
  terminator()->setOperands(rows);
  removeUnused();
}

Operation *StepMaker::rowByRow(Value value) {
  Operation *op = value.getDefiningOp();
  bool known = op && isa<llm::LinearOp, llm::LayerNormOp, llm::RMSNormOp, llm::CastOp, llm::MulOp, llm::DivOp, llm::TanhOp>(op);
  if (!known || typeOf(op->getOperand(0)).getRank() != 3 || !llvm::all_of(op->getOperands().drop_front(), llm::isWeightExpression) ||
      llm::isWeightExpression(op->getOperand(0)))
    return nullptr;
  return op;
}
