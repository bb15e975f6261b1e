//===- LLMVerify.cpp - verifiers: helpers and elementwise operations ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each constraint has a label (`slice_c2`); the negative tests in test/dialects/LLM are named after it.
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt::llm;

bool llmopt::llm::agree(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  return a.size() == b.size() && llvm::all_of(llvm::zip(a, b), [](auto pair) { return agree(std::get<0>(pair), std::get<1>(pair)); });
}

std::string llmopt::llm::printDims(ArrayRef<int64_t> dims) {
  std::string text;
  for (int64_t dim : dims)
    text += (text.empty() ? "" : ", ") + (ShapedType::isDynamic(dim) ? std::string("?") : std::to_string(dim));
  return "[" + text + "]";
}

std::optional<StaticDims> llmopt::llm::broadcastDims(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  StaticDims result(a);
  for (size_t i = 0, offset = a.size() - b.size(); i < b.size(); ++i) {
    int64_t &dim = result[offset + i];
    if (dim == 1 || (ShapedType::isDynamic(dim) && b[i] != 1))
      dim = b[i];
    else if (b[i] != 1 && !ShapedType::isDynamic(b[i]) && dim != b[i])
      return std::nullopt;
  }
  return result;
}

LogicalResult llmopt::llm::expectShape(Operation *op, Value result, ArrayRef<int64_t> expected) {
  if (agree(dimsOf(result), expected))
    return success();
  return op->emitOpError("has a result of shape ") << printDims(dimsOf(result)) << " where the operands give " << printDims(expected);
}

LogicalResult llmopt::llm::expectAxis(Operation *op, int64_t axis, int64_t rank) {
  if (axis >= 0 && axis < rank)
    return success();
  return op->emitOpError("has axis ") << axis << ", the tensor has " << rank << " dimensions";
}

LogicalResult llmopt::llm::expectSortedAxes(Operation *op, ArrayRef<int64_t> axes, int64_t rank) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (failed(expectAxis(op, axes[i], rank)))
      return failure();
    if (i > 0 && axes[i] <= axes[i - 1])
      return op->emitOpError("has axes that do not rise");
  }
  return success();
}

LogicalResult llmopt::llm::expectSameElements(Operation *op, Value a, Value b) {
  if (elementOf(a) == elementOf(b))
    return success();
  return op->emitOpError("has element types ") << elementOf(a) << " and " << elementOf(b) << " where one is needed";
}

LogicalResult llmopt::llm::detail::verifyElementwise(Operation *op) {
  auto isTensor = [](Value value) { return isa<RankedTensorType>(value.getType()); };
  if (op->getNumOperands() == 0 || op->getNumResults() != 1 || !llvm::all_of(op->getOperands(), isTensor) || !isTensor(op->getResult(0)))
    return op->emitOpError("needs ranked tensors");
  // elementwise_c1: the operands broadcast.
  StaticDims dims(dimsOf(op->getOperand(0)));
  for (Value operand : op->getOperands().drop_front()) {
    std::optional<StaticDims> both = broadcastDims(dims, dimsOf(operand));
    if (!both)
      return op->emitOpError("has operands of shapes ") << printDims(dims) << " and " << printDims(dimsOf(operand)) << " that do not broadcast";
    dims = std::move(*both);
  }
  // elementwise_c2: the result has the broadcast shape.
  if (failed(expectShape(op, op->getResult(0), dims)))
    return failure();
  // elementwise_c3: operands and result have one element type; the condition of select, the exponent of pow, and the
  // results of comparisons and casts have their own.
  // elementwise_c4: a bitcast keeps the width.
  if (isa<BitcastOp>(op) && elementOf(op->getOperand(0)).getIntOrFloatBitWidth() != elementOf(op->getResult(0)).getIntOrFloatBitWidth())
    return op->emitOpError("has element types ") << elementOf(op->getOperand(0)) << " and " << elementOf(op->getResult(0)) << " of different widths";
  if (isa<CastOp, BitcastOp, CompareOp, IsNanOp, IsInfOp>(op))
    return isa<CompareOp>(op) ? expectSameElements(op, op->getOperand(0), op->getOperand(1)) : success();
  for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
    bool own = (isa<SelectOp>(op) && i == 0) || (isa<PowOp>(op) && i == 1);
    if (!own && failed(expectSameElements(op, operand, op->getResult(0))))
      return failure();
  }
  return success();
}
