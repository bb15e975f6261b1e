//===- Emitter.cpp - short words for building llm operations --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Emitter.h"

#include "ModelFile.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

std::string describeType(ShapeAnalysis &analysis, Value value) {
  if (!value)
    return "nothing";
  auto type = cast<RankedTensorType>(value.getType());
  auto dtype = llm::dtypeOf(type.getElementType());
  std::string text(dtype ? dtypeName(*dtype) : "?");
  text += "[";
  for (auto [i, dim] : llvm::enumerate(analysis.shapeOf(value).dims))
    text += (i ? ", " : "") + (dim.known() ? dim.str() : std::string("?"));
  return text + "]";
}

//===----------------------------------------------------------------------===//
// Problems and facts
//===----------------------------------------------------------------------===//

void Emitter::invalid(std::string message) {
  if (!failed())
    status_ = badInput(kNode, std::move(message));
}

void Emitter::unsupported(std::string message) {
  if (!failed())
    status_ = llmopt::unsupported(kUnsupported, std::move(message));
}

RankedTensorType Emitter::typeOf(Value value) const {
  return value ? cast<RankedTensorType>(value.getType()) : RankedTensorType::get({}, Float32Type::get(builder.getContext()));
}

std::optional<int64_t> Emitter::staticDim(Value value, int64_t dim) const {
  if (!value || dim < 0 || dim >= rank(value))
    return std::nullopt;
  if (!typeOf(value).isDynamicDim(dim))
    return typeOf(value).getDimSize(dim);
  return analysis.shapeOf(value).dims[dim].constant();
}

bool Emitter::sameDim(Value a, int64_t i, Value b, int64_t j) {
  if (!a || !b || i >= rank(a) || j >= rank(b))
    return false;
  // Copied: the second query may move the first's storage.
  SymExpr left = analysis.shapeOf(a).dims[i];
  return left == analysis.shapeOf(b).dims[j];
}

bool Emitter::sameShape(Value a, Value b) {
  if (rank(a) != rank(b))
    return false;
  for (int64_t i = 0; i < rank(a); ++i)
    if (!sameDim(a, i, b, i))
      return false;
  return true;
}

static DenseElementsAttr constantOf(Value value) {
  auto op = value ? value.getDefiningOp<llm::ConstantOp>() : llm::ConstantOp();
  return op ? dyn_cast<DenseElementsAttr>(op.getValue()) : DenseElementsAttr();
}

std::optional<llvm::SmallVector<int64_t>> Emitter::ints(Value value) {
  if (!value || !isa<IntegerType>(elementType(value)))
    return std::nullopt;
  auto elements = constantOf(value);
  if (!elements)
    return analysis.constantElements(value);
  llvm::SmallVector<int64_t> result;
  bool isUnsigned = elementType(value).isUnsignedInteger() || isBool(value);
  for (APInt element : elements.getValues<APInt>())
    result.push_back(isUnsigned ? int64_t(element.getZExtValue()) : element.getSExtValue());
  return result;
}

std::optional<llvm::SmallVector<double>> Emitter::floats(Value value) {
  llvm::SmallVector<double> result;
  if (value && isa<IntegerType>(elementType(value))) {
    auto integers = ints(value);
    if (!integers)
      return std::nullopt;
    result.assign(integers->begin(), integers->end());
    return result;
  }
  auto elements = constantOf(value);
  if (!elements) {
    // The analysis follows floats as long as they hold integers.
    auto integral = value ? analysis.constantElements(value) : std::nullopt;
    if (!integral)
      return std::nullopt;
    result.assign(integral->begin(), integral->end());
    return result;
  }
  for (APFloat element : elements.getValues<APFloat>()) {
    bool inexact;
    element.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
    result.push_back(element.convertToDouble());
  }
  return result;
}

int64_t Emitter::axis(int64_t axis, int64_t rank) {
  int64_t counted = axis < 0 ? axis + rank : axis;
  if (counted >= 0 && counted < rank)
    return counted;
  invalid("axis " + std::to_string(axis) + " is outside a tensor of rank " + std::to_string(rank));
  return 0;
}

//===----------------------------------------------------------------------===//
// Constants and the general operation
//===----------------------------------------------------------------------===//

Value Emitter::constant(DenseElementsAttr elements) {
  Value value = llm::ConstantOp::create(builder, loc, elements);
  analysis.infer(value.getDefiningOp());
  markConstant(value);
  return value;
}

Value Emitter::vector(ArrayRef<int64_t> elements) {
  return constant(DenseElementsAttr::get(RankedTensorType::get({int64_t(elements.size())}, i64()), elements));
}

Value Emitter::integer(int64_t number) {
  return constant(DenseElementsAttr::get(RankedTensorType::get({}, i64()), ArrayRef<int64_t>(number)));
}

Value Emitter::scalar(Type elementType, double number) {
  auto type = RankedTensorType::get({}, elementType);
  if (auto floatType = dyn_cast<FloatType>(elementType)) {
    APFloat value(number);
    bool inexact;
    value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
    return constant(DenseElementsAttr::get(type, value));
  }
  unsigned width = elementType.getIntOrFloatBitWidth();
  return constant(DenseElementsAttr::get(type, APInt(width, uint64_t(int64_t(number)), /*isSigned=*/true, /*implicitTrunc=*/true)));
}

Value Emitter::op(llvm::StringRef name, ValueRange operands, ArrayRef<NamedAttribute> attributes, Type elementType) {
  if (failed() || llvm::is_contained(operands, Value()))
    return {};
  Operation *op = createInferred(builder, loc, analysis, name, operands, attributes, elementType);
  if (!op) {
    status_ = llmopt::unsupported(kUnknownShape, "the rank of a result depends on tensor data");
    return {};
  }
  if (llvm::all_of(operands, [&](Value operand) { return isConstant(operand); }))
    for (Value result : op->getResults())
      markConstant(result);
  return op->getResult(0);
}

} // namespace llmopt::onnx
