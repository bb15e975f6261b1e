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

static void resolveReshape(llm::ReshapeOp op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  OpBuilder builder(op);
  // Not by reference: both may move when the analysis meets a new value.
  auto before = shapes.shapeOf(op.getInput()).dims, after = shapes.shapeOf(op.getResult()).dims;
  SizeBuilder::Shape shape = sizes.reshapeTo(builder, op.getLoc(), before, after);
  if (!shape.value)
    return;
  op.getShapeMutable().assign(shape.value);
  op.setAllowzero(shape.allowZero);
}

/// The shape of the result is as good as whatever broadcasts to it.
static void resolveBroadcast(llm::BroadcastOp op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  OpBuilder builder(op);
  auto dims = shapes.shapeOf(op.getResult()).dims;
  Value shape = sizes.vector(builder, op.getLoc(), dims);
  if (shape)
    op.getShapeMutable().assign(shape);
}

/// A few sizes that something computes: shapes of what is computed, their elements, sums of them.
static void resolveSizes(Operation *op, ShapeAnalysis &shapes, const SizeBuilder &sizes) {
  constexpr int64_t kMostSizes = 16;
  auto type = op->getNumResults() == 1 ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : RankedTensorType();
  if (!type || !type.getElementType().isInteger(64) || type.getRank() > 1 || !type.hasStaticShape() || type.getNumElements() > kMostSizes ||
      !isa_and_nonnull<llm::LLMDialect>(op->getDialect()) || isa<llm::ConstantOp, llm::WeightOp>(op))
    return;
  auto elements = shapes.shapeOf(op->getResult(0)).elements;
  if (!elements || elements->empty())
    return;
  OpBuilder builder(op);
  Value value = sizes.vector(builder, op->getLoc(), *elements);
  if (value && type.getRank() == 0)
    value = llm::SqueezeOp::create(builder, op->getLoc(), type, value, builder.getDenseI64ArrayAttr(0));
  if (value)
    op->getResult(0).replaceAllUsesWith(value);
}

void llmopt::resolveShapes(func::FuncOp function) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  SizeBuilder sizes(function, shapes);
  // What is built on the way is not looked at again.
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops) {
    if (auto reshape = dyn_cast<llm::ReshapeOp>(op))
      resolveReshape(reshape, shapes, sizes);
    else if (auto broadcast = dyn_cast<llm::BroadcastOp>(op))
      resolveBroadcast(broadcast, shapes, sizes);
    else
      resolveSizes(op, shapes, sizes);
  }
}
