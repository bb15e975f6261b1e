//===- LLMDecompose.cpp - products and normalizations in smaller operations
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/Decompose.h"

#include "OpEmitter.h"

using namespace mlir;
using namespace llmopt::llm;

using Decomposed = FailureOr<SmallVector<Value>>;

// cast(x) W^T + b
Decomposed LinearOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getInput());
  Value weight = emit.cast(getWeight(), type), x = emit.cast(getInput(), type);
  if (!getTransposed())
    weight = emit.transpose(weight, {1, 0});
  // A single row needs the dimension that a matrix product has.
  bool vector = rankOf(x) == 1;
  Value product = emit.matmul(vector ? emit.expandDims(x, 0) : x, weight);
  if (vector)
    product = SqueezeOp::create(builder, getLoc(), RankedTensorType::get(dimsOf(product).back(), type), product,
                                ArrayRef<int64_t>{0});
  if (getBias())
    product = emit.binary<AddOp>(product, emit.cast(getBias(), type));
  return emit.finish(product, getResult());
}

Decomposed EmbeddingOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  auto type = RankedTensorType::get(dimsOf(getResult()), elementOf(getTable()));
  Value rows = GatherOp::create(builder, getLoc(), type, getTable(), getIds(), 0);
  return emit.finish(rows, getResult());
}

// d = x - mean(x); d * rsqrt(mean(d * d) + epsilon) * scale + bias
Decomposed LayerNormOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getInput());
  Value x = emit.cast(getInput(), type);
  int64_t last = rankOf(x) - 1;
  Value centered = emit.binary<SubOp>(x, emit.reduce(ReduceKind::mean, x, last));
  Value variance = emit.reduce(ReduceKind::mean, emit.binary<MulOp>(centered, centered), last);
  Value deviation = emit.binary<AddOp>(variance, emit.scalar(type, getEpsilon().convertToFloat()));
  Value result = emit.binary<MulOp>(centered, emit.unary<RsqrtOp>(deviation));
  if (getScale())
    result = emit.binary<MulOp>(result, emit.cast(getScale(), type));
  if (getBias())
    result = emit.binary<AddOp>(result, emit.cast(getBias(), type));
  return emit.finish(result, getResult());
}

// x * rsqrt(mean(x * x) + epsilon) * (scale + offset)
Decomposed RMSNormOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getInput());
  Value x = emit.cast(getInput(), type);
  Value square = emit.reduce(ReduceKind::mean, emit.binary<MulOp>(x, x), rankOf(x) - 1);
  Value deviation = emit.binary<AddOp>(square, emit.scalar(type, getEpsilon().convertToFloat()));
  Value result = emit.binary<MulOp>(x, emit.unary<RsqrtOp>(deviation));
  if (getScale()) {
    Value scale = emit.cast(getScale(), type);
    if (!getOffset().isZero())
      scale = emit.binary<AddOp>(scale, emit.scalar(type, getOffset().convertToFloat()));
    result = emit.binary<MulOp>(result, scale);
  }
  return emit.finish(result, getResult());
}

// e = exp(x - max(x)); e / sum(e)
Decomposed SoftmaxOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  int64_t axis = int64_t(getAxis());
  Value x = emit.cast(getInput(), OpEmitter::computeType(getInput()));
  Value shifted = emit.binary<SubOp>(x, emit.reduce(ReduceKind::max, x, axis));
  Value exponentials = emit.unary<ExpOp>(shifted);
  Value result = emit.binary<DivOp>(exponentials, emit.reduce(ReduceKind::sum, exponentials, axis));
  return emit.finish(result, getResult());
}

LogicalResult llmopt::llm::decomposeAll(Operation *root) {
  SmallVector<Operation *> composites;
  root->walk([&](Decomposable op) { composites.push_back(op); });
  OpBuilder builder(root->getContext());
  for (Operation *op : composites) {
    builder.setInsertionPoint(op);
    Decomposed values = cast<Decomposable>(op).decompose(builder);
    if (failed(values))
      return op->emitError("cannot be decomposed");
    op->replaceAllUsesWith(*values);
    op->erase();
  }
  return success();
}
