//===- StepPositions.cpp - values that count are the step's positions ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "StepMaker.h"

#include "llmopt/passes/Ragged.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

void StepMaker::replacePositions() {
  for (auto rope : step_.getOps<llm::RopeOp>())
    if (auto rows = rope->getAttrOfType<IntegerAttr>(kMaxPositionsAttr))
      limitPositions(rows.getInt());
  SmallVector<Value> candidates;
  for (Operation &op : step_.getBody().front().without_terminator())
    for (Value result : op.getResults())
      if (isPositionLike(result))
        candidates.push_back(result);
  for (Value value : candidates) {
    auto values = samples_.evaluate(value);
    bool positions = values && llvm::all_of(values->samples, [&](auto &sample) {
      if (maxPositions_ && sample.first.total() > *maxPositions_)
        return true; // no sequence is as long
      for (int64_t i = 0; i < sample.first.tokens; ++i)
        if (sample.second.elements() != sample.first.tokens || sample.second.at(i) != double(sample.first.past + i))
          return false;
      return true;
    });
    if (!positions)
      continue;
    builder_.setInsertionPointAfter(value.getDefiningOp());
    value.replaceAllUsesWith(positionsAs(value));
  }
}

bool StepMaker::isPositionLike(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !samples_.isControl(value) || value.use_empty())
    return false;
  int64_t tokens = 0;
  for (SymExpr dim : shapes_.shapeOf(value).dims) {
    if (dim == symbols_.symbol("tokens"))
      ++tokens;
    else if (!dim.isConstant(1))
      return false;
  }
  return tokens == 1;
}

Value StepMaker::positionsAs(Value value) {
  Location loc = value.getLoc();
  auto type = typeOf(value);
  Value row = step_.getArgument(1);
  auto elementwise = RankedTensorType::get({ShapedType::kDynamic}, type.getElementType());
  if (type.getElementType() != builder_.getI32Type())
    row = llm::CastOp::create(builder_, loc, elementwise, row);
  SmallVector<int64_t> shape, axes;
  for (auto [i, dim] : llvm::enumerate(shapes_.shapeOf(value).dims)) {
    shape.push_back(dim.isConstant(1) ? 1 : ShapedType::kDynamic);
    if (dim.isConstant(1))
      axes.push_back(int64_t(i));
  }
  if (axes.empty())
    return row;
  return llm::ExpandDimsOp::create(builder_, loc, RankedTensorType::get(shape, type.getElementType()), row, builder_.getDenseI64ArrayAttr(axes));
}

void StepMaker::readSlicedTablesWhole() {
  for (auto gather : step_.getOps<llm::GatherOp>()) {
    auto slice = gather.getInput().getDefiningOp<llm::SliceOp>();
    if (!slice || gather.getAxis() != 0 || slice.getAxes() != ArrayRef<int64_t>{0} || slice.getSteps() != ArrayRef<int64_t>{1} ||
        shapes_.constantElements(slice.getStarts()) != SmallVector<int64_t>{0} || !llm::isWeightExpression(slice.getInput()))
      continue;
    auto count = shapes_.shapeOf(slice).dims.front();
    if (symbols_.provenLessEqual(symbols_.add(symbols_.symbol("past"), symbols_.symbol("tokens")), count) || !count.known())
      gather.getInputMutable().assign(slice.getInput());
  }
}

void StepMaker::limitByTables() {
  for (auto gather : step_.getOps<llm::GatherOp>()) {
    int64_t rows = typeOf(gather.getInput()).getDimSize(gather.getAxis());
    if (gather.getAxis() == 0 && !ShapedType::isDynamic(rows))
      limitByRows(gather.getIndices(), rows);
  }
  for (auto rope : step_.getOps<llm::RopeOp>())
    if (auto rows = rope->removeAttr(kMaxPositionsAttr))
      limitByRows(rope.getPositions(), cast<IntegerAttr>(rows).getInt());
}

void StepMaker::limitByRows(Value numbers, int64_t rows) {
  if (!samples_.isControl(numbers))
    return;
  auto values = samples_.evaluate(numbers);
  if (!values)
    return;
  auto offset = [](auto &sample) { return int64_t(sample.second.at(0)) - sample.first.past; };
  int64_t first = offset(values->samples.front());
  if (llvm::all_of(values->samples, [&](auto &sample) { return offset(sample) == first; }))
    limitPositions(rows - first);
}

void StepMaker::embedNumbers() {
  for (auto gather : llvm::make_early_inc_range(step_.getOps<llm::GatherOp>())) {
    if (gather.getAxis() != 0 || typeOf(gather.getInput()).getRank() != 2 || !llm::isWeightExpression(gather.getInput()) ||
        !isa<FloatType>(typeOf(gather).getElementType()))
      continue;
    Value numbers = gather.getIndices();
    while (isa_and_nonnull<llm::CastOp, llm::ExpandDimsOp>(numbers.getDefiningOp()) && !isa<FloatType>(typeOf(numbers).getElementType()))
      numbers = numbers.getDefiningOp()->getOperand(0);
    if (numbers != step_.getArgument(0) && numbers != step_.getArgument(1))
      continue;
    builder_.setInsertionPoint(gather);
    if (auto type = typeOf(gather.getIndices()); type.getRank() == 2)
      numbers = asRow(numbers, type.clone(builder_.getI32Type()));
    if (typeOf(numbers).getRank() != typeOf(gather.getIndices()).getRank())
      continue;
    gather.replaceAllUsesWith(llm::EmbeddingOp::create(builder_, gather.getLoc(), gather.getType(), numbers, gather.getInput()).getResult());
    erase(gather);
  }
}
