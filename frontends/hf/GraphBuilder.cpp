//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GraphBuilder.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

using namespace llmopt;
using namespace llmopt::hf;
using mlir::RankedTensorType;
using mlir::Value;

void GraphBuilder::at(const std::string &name) { location_ = mlir::NameLoc::get(builder_.getStringAttr(name)); }

RankedTensorType GraphBuilder::typeOf(Value value) { return mlir::cast<RankedTensorType>(value.getType()); }

int64_t GraphBuilder::lastDim(Value value) { return typeOf(value).getShape().back(); }

RankedTensorType GraphBuilder::broadcastType(Value left, Value right) {
  llvm::ArrayRef<int64_t> a = typeOf(left).getShape(), b = typeOf(right).getShape();
  if (a.size() < b.size())
    std::swap(a, b);
  llvm::SmallVector<int64_t> dims(a);
  for (size_t i = 0; i < b.size(); ++i)
    if (int64_t &dim = dims[a.size() - b.size() + i]; dim == 1)
      dim = b[i];
  return RankedTensorType::get(dims, typeOf(left).getElementType());
}

Value GraphBuilder::scalar(double value) {
  auto type = RankedTensorType::get({}, builder_.getF32Type());
  return llm::ConstantOp::create(builder_, location_, mlir::DenseElementsAttr::get(type, float(value)));
}

Value GraphBuilder::scalarLike(double value, Value like) {
  mlir::Type element = typeOf(like).getElementType();
  if (!element.isInteger())
    return scalar(value);
  auto type = RankedTensorType::get({}, element);
  auto attribute = mlir::DenseElementsAttr::get(type, llvm::APInt(element.getIntOrFloatBitWidth(), uint64_t(int64_t(value)), true));
  return llm::ConstantOp::create(builder_, location_, attribute);
}

Value GraphBuilder::integers(llvm::ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({int64_t(values.size())}, builder_.getI64Type());
  return llm::ConstantOp::create(builder_, location_, mlir::DenseElementsAttr::get(type, values));
}

Value GraphBuilder::floats(llvm::ArrayRef<float> values) {
  auto type = RankedTensorType::get({int64_t(values.size())}, builder_.getF32Type());
  return llm::ConstantOp::create(builder_, location_, mlir::DenseElementsAttr::get(type, values));
}

Value GraphBuilder::weight(const std::string &name, DType dtype, llvm::ArrayRef<int64_t> shape) {
  return create<llm::WeightOp>(RankedTensorType::get(shape, llm::elementTypeOf(builder_.getContext(), dtype)), name);
}

Value GraphBuilder::toF32(Value value) {
  if (typeOf(value).getElementType().isF32())
    return value;
  return create<llm::CastOp>(typeOf(value).clone(builder_.getF32Type()), value);
}

Value GraphBuilder::linear(Value input, Value weight, Value bias, bool transposed) {
  llvm::SmallVector<int64_t> dims(typeOf(input).getShape());
  dims.back() = typeOf(weight).getDimSize(transposed ? 1 : 0);
  return create<llm::LinearOp>(RankedTensorType::get(dims, typeOf(input).getElementType()), input, weight, bias, flag(transposed));
}

Value GraphBuilder::reshape(Value input, llvm::ArrayRef<int64_t> dims) {
  llvm::SmallVector<int64_t> result(dims);
  for (size_t i = 0; i < result.size(); ++i)
    if (result[i] == 0)
      result[i] = typeOf(input).getDimSize(unsigned(i));
  return create<llm::ReshapeOp>(typeOf(input).clone(result), input, integers(dims), mlir::UnitAttr());
}

Value GraphBuilder::slice(Value input, int64_t axis, int64_t begin, int64_t end, int64_t step) {
  llvm::SmallVector<int64_t> dims(typeOf(input).getShape());
  dims[size_t(axis)] = (end - begin + step - 1) / step;
  return create<llm::SliceOp>(typeOf(input).clone(dims), input, integers({begin}), integers({end}),
                              builder_.getDenseI64ArrayAttr({axis}), builder_.getDenseI64ArrayAttr({step}));
}

Value GraphBuilder::gatherRows(Value input, Value indices) {
  llvm::SmallVector<int64_t> dims(typeOf(indices).getShape());
  llvm::append_range(dims, typeOf(input).getShape().drop_front());
  return create<llm::GatherOp>(typeOf(input).clone(dims), input, indices, builder_.getI64IntegerAttr(0));
}

Value GraphBuilder::clamp(Value input, double low, double high) {
  Value raised = binary<llm::MaxOp>(input, scalar(low));
  return binary<llm::MinOp>(raised, scalar(high));
}
