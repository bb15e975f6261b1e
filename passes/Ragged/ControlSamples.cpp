//===- ControlSamples.cpp - what masks and positions are, by trying ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ControlSamples.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

#include <algorithm>
#include <set>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

/// Tables of masks and windows are shorter; ends of slices such as INT64_MAX are no sizes.
static constexpr int64_t kLargestNumber = 4096;

uint8_t ControlSamples::sourcesOf(Value value) {
  if (auto known = sources_.find(value); known != sources_.end())
    return known->second;
  uint8_t sources = kNone;
  if (Operation *op = value.getDefiningOp()) {
    if (isa<llm::ShapeOp>(op))
      sources = kControl;
    else if (!isMemoryEffectFree(op) || op->getNumRegions())
      sources = kData;
    else
      for (Value operand : op->getOperands())
        sources |= sourcesOf(operand);
  } else {
    sources = inputs_.count(value) ? kControl : kData;
  }
  return sources_[value] = sources;
}

void ControlSamples::forget(Operation *op) {
  for (Value result : op->getResults())
    sources_.erase(result);
}

void ControlSamples::collectSlice(Value value, llvm::SetVector<Operation *> &slice) {
  Operation *op = value.getDefiningOp();
  if (!op || slice.contains(op))
    return;
  if (!isa<llm::ShapeOp>(op))
    for (Value operand : op->getOperands())
      collectSlice(operand, slice);
  slice.insert(op);
}

static DenseElementsAttr integers(MLIRContext *context, ArrayRef<int64_t> shape, Type elementType, llvm::function_ref<int64_t(int64_t)> at) {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  SmallVector<Attribute> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(isa<FloatType>(elementType) ? Attribute(FloatAttr::get(elementType, double(at(i)))) : Attribute(IntegerAttr::get(elementType, at(i))));
  return DenseElementsAttr::get(RankedTensorType::get(shape, elementType), values);
}

std::optional<Tensor> ControlSamples::evaluateAt(Value value, Sample sample) {
  llvm::SetVector<Operation *> slice;
  collectSlice(value, slice);
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(context_)));
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  auto function = func::FuncOp::create(builder, value.getLoc(), "sample", builder.getFunctionType({}, {value.getType()}));
  builder.setInsertionPointToStart(function.addEntryBlock());
  IRMapping mapping;
  for (auto [input, meaning] : inputs_) {
    Type element = cast<RankedTensorType>(input.getType()).getElementType();
    bool mask = meaning == Control::PaddingMask;
    SmallVector<int64_t> shape{1, mask ? sample.total() : sample.tokens};
    if (cast<RankedTensorType>(input.getType()).getRank() == 1)
      shape.erase(shape.begin());
    auto contents = integers(context_, shape, element, [&](int64_t i) { return mask ? 1 : sample.past + i; });
    mapping.map(input, llm::ConstantOp::create(builder, value.getLoc(), contents));
  }
  for (Operation *op : slice) {
    auto shape = dyn_cast<llm::ShapeOp>(op);
    if (!shape) {
      builder.clone(*op, mapping);
      continue;
    }
    SmallVector<int64_t> dims;
    for (SymExpr dim : shapes_.shapeOf(shape.getInput()).dims) {
      auto size = dim.known() ? shapes_.symbols().evaluate(dim, {{"past", sample.past}, {"tokens", sample.tokens}}) : std::nullopt;
      if (!size)
        return std::nullopt;
      dims.push_back(*size);
    }
    auto contents = integers(context_, {int64_t(dims.size())}, builder.getI64Type(), [&](int64_t i) { return dims[size_t(i)]; });
    mapping.map(shape.getResult(), llm::ConstantOp::create(builder, op->getLoc(), contents));
  }
  func::ReturnOp::create(builder, value.getLoc(), mapping.lookup(value));
  Interpreter interpreter(*module, weights_);
  Result<std::vector<Tensor>> result = interpreter.run("sample", {});
  if (!result)
    return std::nullopt;
  return std::move(result->front());
}

std::optional<ControlSamples::Values> ControlSamples::evaluate(Value value) {
  Values values;
  llvm::SetVector<Operation *> slice;
  collectSlice(value, slice);
  std::set<int64_t> numbers;
  for (Operation *op : slice)
    if (auto constant = dyn_cast<llm::ConstantOp>(op))
      if (auto elements = dyn_cast<DenseIntElementsAttr>(constant.getValue()); elements && elements.getNumElements() <= 16)
        for (const APInt &element : elements.getValues<APInt>())
          if (element.getSignificantBits() <= 62 && element.getSExtValue() > 1)
            numbers.insert(element.getSExtValue());
  // Sizes of tables count as numbers too.
  for (Operation *op : slice)
    if (isa<llm::ConstantOp, llm::WeightOp>(op))
      for (int64_t dim : cast<RankedTensorType>(op->getResult(0).getType()).getShape())
        if (dim > 1)
          numbers.insert(dim);
  values.numbers.assign(numbers.begin(), numbers.end());

  for (int64_t tokens : {1, 2, 3, 5})
    for (int64_t past : {0, 1, 2, 4, 7}) {
      auto tensor = evaluateAt(value, {past, tokens});
      if (!tensor)
        return std::nullopt;
      values.samples.emplace_back(Sample{past, tokens}, std::move(*tensor));
    }
  for (int64_t number : numbers)
    for (int64_t total = std::max<int64_t>(number - 1, 13); total <= number + 2 && number <= kLargestNumber; ++total) {
      auto tensor = evaluateAt(value, {total - 2, 2});
      if (!tensor) {
        values.longest = total - 1;
        return values;
      }
      values.samples.emplace_back(Sample{total - 2, 2}, std::move(*tensor));
    }
  return values;
}
