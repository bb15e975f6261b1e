//===- ResolveShapes.cpp - sizes that operations are given, in one spelling ===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.shape %x                                     %c = llm.constant dense<[0, 0, 4, 16]>
//   %v = llm.concat %s[0], %s[1], 4, 16            ==>    %y = llm.reshape %x, %c
//   %y = llm.reshape %x, %v
// Exporters compute the same shape in many ways; with the sizes in place, the chains die and equal blocks look equal.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"
#include "SizeBuilder.h"

using namespace mlir;
using namespace llmopt;

static bool resolveReshape(llm::ReshapeOp op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  OpBuilder builder(op);
  // Not by reference: both may move when the analysis meets a new value.
  auto before = shapes.shapeOf(op.getInput()).dims, after = shapes.shapeOf(op.getResult()).dims;
  SizeBuilder::Shape shape = sizes.reshapeTo(builder, op.getLoc(), before, after);
  if (!shape.value)
    return false;
  op.getShapeMutable().assign(shape.value);
  op.setAllowzero(shape.allowZero);
  return true;
}

/// The shape of the result is as good as whatever broadcasts to it.
static bool resolveBroadcast(llm::BroadcastOp op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  OpBuilder builder(op);
  auto dims = shapes.shapeOf(op.getResult()).dims;
  Value shape = sizes.vector(builder, op.getLoc(), dims);
  if (shape)
    op.getShapeMutable().assign(shape);
  return shape != nullptr;
}

/// A few sizes that something computes: shapes of what is computed, their elements, sums of them.
static bool resolveSizes(Operation *op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  constexpr int64_t kMostSizes = 16;
  auto type = op->getNumResults() == 1 ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : RankedTensorType();
  if (!type || !type.getElementType().isInteger(64) || type.getRank() > 1 || !type.hasStaticShape() || type.getNumElements() > kMostSizes ||
      !isa_and_nonnull<llm::LLMDialect>(op->getDialect()) || isa<llm::ConstantOp, llm::WeightOp>(op))
    return false;
  auto elements = shapes.shapeOf(op->getResult(0)).elements;
  if (!elements || elements->empty())
    return false;
  OpBuilder builder(op);
  Value value = sizes.vector(builder, op->getLoc(), *elements);
  if (value && type.getRank() == 0)
    value = llm::SqueezeOp::create(builder, op->getLoc(), type, value, builder.getDenseI64ArrayAttr(0));
  if (value)
    op->getResult(0).replaceAllUsesWith(value);
  return value != nullptr;
}

int64_t llmopt::resolveShapes(func::FuncOp function) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  SizeBuilder sizes(function, shapes);
  int64_t resolved = 0;
  // What is built on the way is not looked at again.
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops) {
    if (auto reshape = dyn_cast<llm::ReshapeOp>(op))
      resolved += resolveReshape(reshape, shapes, sizes);
    else if (auto broadcast = dyn_cast<llm::BroadcastOp>(op))
      resolved += resolveBroadcast(broadcast, shapes, sizes);
    else
      resolved += resolveSizes(op, shapes, sizes);
  }
  return resolved;
}
