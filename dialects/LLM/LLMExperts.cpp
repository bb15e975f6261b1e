//===- LLMExperts.cpp - mixture of experts: verifiers and decompositions --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpEmitter.h"

using namespace mlir;
using namespace llmopt::llm;

using Decomposed = FailureOr<SmallVector<Value>>;

LogicalResult GroupRowsOp::verify() {
  // group_rows_c1: rows by token and choice, and at least one expert.
  if (rankOf(getChosen()) != 2 || int64_t(getExperts()) < 1)
    return emitOpError("needs numbers of two dimensions, and at least one expert");
  // group_rows_c2: all rows have a place.
  if (failed(expectShape(*this, getOrder(), dimsOf(getChosen()))))
    return failure();
  // group_rows_c3: each expert's rows begin somewhere, and the last ones end.
  return expectShape(*this, getOffsets(), int64_t(getExperts()) + 1);
}

LogicalResult GroupedLinearOp::verify() {
  // grouped_linear_c1: one matrix an expert, rows by token and choice.
  ArrayRef<int64_t> input = dimsOf(getInput()), weight = dimsOf(getWeight()), order = dimsOf(getOrder());
  if (weight.size() != 3 || order.size() != 2 || input.size() < 2 || input.size() > 3)
    return emitOpError("needs a weight of three dimensions, an order of two and an input of two or three");
  // grouped_linear_c2: the weight takes rows as long as the input's.
  if (!agree(input.back(), weight[2]))
    return emitOpError("has input rows of ") << input.back() << " elements, the weight takes " << weight[2];
  // grouped_linear_c3: the order is of the input's rows.
  if (!agree(input.drop_back(), order.take_front(input.size() - 1)))
    return emitOpError("has an order of shape ") << printDims(order) << " for an input of shape " << printDims(input);
  // grouped_linear_c4: offsets for as many experts as the weight has.
  int64_t ends = dimsOf(getOffsets())[0];
  if (!ShapedType::isDynamic(weight[0]) && !agree(ends, weight[0] + 1))
    return emitOpError("has ") << ends << " offsets for " << weight[0] << " experts";
  // grouped_linear_c5: one result row for each place, in the input's element type.
  if (failed(expectShape(*this, getResult(), {order[0], order[1], weight[1]})))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

/// `x` with its first two dimensions as one.
static Value flattened(OpEmitter &emit, Value x) {
  ArrayRef<int64_t> dims = dimsOf(x);
  bool isDynamic = ShapedType::isDynamic(dims[0]) || ShapedType::isDynamic(dims[1]);
  StaticDims flat{isDynamic ? ShapedType::kDynamic : dims[0] * dims[1]};
  Value rows = emit.expandDims(emit.binary<MulOp>(emit.dimScalar(x, 0), emit.dimScalar(x, 1)), 0);
  return emit.reshape(x, rows, flat);
}

// order: places of the smallest numbers, equal ones by place. offsets[e]: how many are less than e.
Decomposed GroupRowsOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type i64 = builder.getI64Type(), i32 = builder.getI32Type();
  Value chosen = emit.cast(getChosen(), i64), last = emit.scalar(i64, double(getExperts() - 1)), zero = emit.scalar(i64, 0);
  Value flat = flattened(emit, emit.binary<MaxOp>(emit.binary<MinOp>(chosen, last), zero));
  Type type = RankedTensorType::get(dimsOf(flat), i64);
  auto sorted = TopKOp::create(builder, getLoc(), type, type, flat, emit.dimVector(flat, 0), 0, /*largest=*/false);
  Value order = emit.reshape(sorted.getIndices(), {emit.dimVector(chosen, 0), emit.dimVector(chosen, 1)}, dimsOf(chosen));
  Value experts = emit.iota(emit.scalar(i64, double(getExperts() + 1)), int64_t(getExperts()) + 1);
  Value below = emit.compare(ComparePredicate::lt, emit.expandDims(flat, 0), emit.expandDims(experts, 1));
  Value counts = emit.reduce(ReduceKind::sum, emit.cast(below, i64), 1);
  Value offsets = SqueezeOp::create(builder, getLoc(), RankedTensorType::get(int64_t(getExperts()) + 1, i64), counts, ArrayRef<int64_t>{1});
  return SmallVector<Value>{emit.finish(emit.cast(order, i32), getOrder())[0], emit.finish(emit.cast(offsets, i32), getOffsets())[0]};
}

// The expert of place p is the number of experts that end at or before p; a matrix is gathered for each row.
Decomposed GroupedLinearOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getInput()), i64 = builder.getI64Type();
  Value order = emit.cast(flattened(emit, getOrder()), i64), offsets = emit.cast(getOffsets(), i64);
  int64_t rows = dimsOf(order)[0], experts = dimsOf(getWeight())[0];
  Value places = emit.iota(emit.dimScalar(order, 0), rows);
  Value ends = emit.slice(offsets, 0, emit.vector(1), emit.dimVector(offsets, 0), 1, experts);
  Value behind = emit.compare(ComparePredicate::le, emit.expandDims(ends, 0), emit.expandDims(places, 1));
  Value counts = emit.reduce(ReduceKind::sum, emit.cast(behind, i64), 1);
  Value atPlace = SqueezeOp::create(builder, getLoc(), order.getType(), counts, ArrayRef<int64_t>{1});
  Value ofRow = ScatterElementsOp::create(builder, getLoc(), order.getType(), ScatterReduction::none, places, order, atPlace, 0);
  ofRow = emit.reshape(ofRow, {emit.dimVector(getOrder(), 0), emit.dimVector(getOrder(), 1)}, dimsOf(getOrder()));
  StaticDims chosen(dimsOf(getOrder()));
  llvm::append_range(chosen, dimsOf(getWeight()).drop_front());
  Value weight = emit.cast(getWeight(), type);
  Value matrices = GatherOp::create(builder, getLoc(), RankedTensorType::get(chosen, type), weight, ofRow, 0); // [T, k, N, K]
  Value x = emit.cast(getInput(), type);
  if (rankOf(x) == 2)
    x = emit.expandDims(x, 1);
  Value product = emit.matmul(emit.expandDims(x, 2), emit.swapLast(matrices)); // [T, k, 1, N]
  StaticDims dims(dimsOf(product));
  dims.erase(dims.begin() + 2);
  product = SqueezeOp::create(builder, getLoc(), RankedTensorType::get(dims, type), product, ArrayRef<int64_t>{2});
  return emit.finish(product, getResult());
}
