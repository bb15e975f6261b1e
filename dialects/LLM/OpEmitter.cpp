//===- OpEmitter.cpp - writing decompositions -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpEmitter.h"

using namespace mlir;
using namespace llmopt::llm;

Type OpEmitter::computeType(Value value) {
  Type element = elementOf(value);
  return element.isF64() ? element : Float32Type::get(value.getContext());
}

RankedTensorType OpEmitter::broadcastType(Value x, Value y) {
  return RankedTensorType::get(broadcastDims(dimsOf(x), dimsOf(y)).value_or(StaticDims()), elementOf(x));
}

Value OpEmitter::compare(ComparePredicate predicate, Value x, Value y) {
  auto type = RankedTensorType::get(broadcastType(x, y).getShape(), builder_.getI1Type());
  return CompareOp::create(builder_, loc_, type, predicate, x, y);
}

Value OpEmitter::select(Value condition, Value x, Value y) {
  StaticDims dims = broadcastDims(broadcastType(x, y).getShape(), dimsOf(condition)).value_or(StaticDims());
  return SelectOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), condition, x, y);
}

Value OpEmitter::cast(Value x, Type elementType) {
  if (elementOf(x) == elementType)
    return x;
  return CastOp::create(builder_, loc_, RankedTensorType::get(dimsOf(x), elementType), x);
}

Value OpEmitter::scalar(Type elementType, double number) {
  auto type = RankedTensorType::get({}, elementType);
  Attribute value = isa<FloatType>(elementType) ? Attribute(FloatAttr::get(elementType, number))
                                                : Attribute(IntegerAttr::get(elementType, int64_t(number)));
  return ConstantOp::create(builder_, loc_, type, DenseElementsAttr::get(type, value));
}

Value OpEmitter::vector(ArrayRef<int64_t> numbers) {
  auto type = RankedTensorType::get({int64_t(numbers.size())}, builder_.getI64Type());
  return ConstantOp::create(builder_, loc_, type, DenseElementsAttr::get(type, numbers));
}

Value OpEmitter::dimScalar(Value x, int64_t axis) {
  int64_t dim = dimsOf(x)[size_t(axis)];
  if (!ShapedType::isDynamic(dim))
    return scalar(builder_.getI64Type(), double(dim));
  auto vectorType = RankedTensorType::get({rankOf(x)}, builder_.getI64Type());
  auto scalarType = RankedTensorType::get({}, builder_.getI64Type());
  Value shape = ShapeOp::create(builder_, loc_, vectorType, x);
  return GatherOp::create(builder_, loc_, scalarType, shape, scalar(builder_.getI64Type(), double(axis)), 0);
}

Value OpEmitter::dimVector(Value x, int64_t axis) {
  int64_t dim = dimsOf(x)[size_t(axis)];
  return ShapedType::isDynamic(dim) ? expandDims(dimScalar(x, axis), 0) : vector(dim);
}

Value OpEmitter::reduce(ReduceKind kind, Value x, int64_t axis) {
  StaticDims dims(dimsOf(x));
  dims[size_t(axis)] = 1;
  return ReduceOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), kind, x, axis, /*keepdims=*/true);
}

Value OpEmitter::transpose(Value x, ArrayRef<int64_t> permutation) {
  StaticDims dims;
  for (int64_t axis : permutation)
    dims.push_back(dimsOf(x)[size_t(axis)]);
  return TransposeOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), x, permutation);
}

Value OpEmitter::swapLast(Value x) {
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, rankOf(x)));
  std::swap(permutation.end()[-1], permutation.end()[-2]);
  return transpose(x, permutation);
}

Value OpEmitter::expandDims(Value x, int64_t axis) {
  StaticDims dims(dimsOf(x));
  dims.insert(dims.begin() + axis, 1);
  return ExpandDimsOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), x, axis);
}

Value OpEmitter::concat(ValueRange inputs, int64_t axis) {
  StaticDims dims(dimsOf(inputs.front()));
  int64_t &sum = dims[size_t(axis)];
  for (Value input : inputs.drop_front()) {
    int64_t size = dimsOf(input)[size_t(axis)];
    sum = ShapedType::isDynamic(sum) || ShapedType::isDynamic(size) ? ShapedType::kDynamic : sum + size;
  }
  return ConcatOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(inputs.front())), inputs, axis);
}

Value OpEmitter::matmul(Value x, Value y) {
  ArrayRef<int64_t> lhs = dimsOf(x), rhs = dimsOf(y);
  StaticDims dims = broadcastDims(lhs.drop_back(2), rhs.drop_back(std::min<size_t>(2, rhs.size()))).value_or(StaticDims());
  dims.push_back(lhs.end()[-2]);
  dims.push_back(rhs.back());
  return MatMulOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), x, y);
}

Value OpEmitter::reshape(Value x, ValueRange sizes, ArrayRef<int64_t> dims) {
  // A size that is 0 means 0 elements here, never "copy".
  return ReshapeOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), x, concat(sizes, 0), /*allowzero=*/true);
}

Value OpEmitter::slice(Value x, int64_t axis, Value start, Value end, int64_t step, int64_t dim) {
  StaticDims dims(dimsOf(x));
  dims[size_t(axis)] = dim;
  return SliceOp::create(builder_, loc_, RankedTensorType::get(dims, elementOf(x)), x, start, end, axis, step);
}

Value OpEmitter::iota(Value size, int64_t dim) {
  Type i64 = builder_.getI64Type();
  return RangeOp::create(builder_, loc_, RankedTensorType::get(dim, i64), scalar(i64, 0), size, scalar(i64, 1));
}

SmallVector<Value> OpEmitter::finish(Value value, Value result) {
  value = cast(value, elementOf(result));
  value.setType(mlir::cast<RankedTensorType>(result.getType()));
  return {value};
}
