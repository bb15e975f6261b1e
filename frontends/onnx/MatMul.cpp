//===- MatMul.cpp - matrix products -------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

using namespace mlir;

namespace llmopt::onnx {

Status importMatMul(Node &node) {
  if (!node.requireInputs(2))
    return {};
  node.set(0, node.emit.matmul(node.input(0), node.input(1)));
  return {};
}

/// alpha * A' B' + beta * C. With a weight for B and a plain bias this is llm.linear.
Status importGemm(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value a = node.input(0), b = node.input(1), c = node.input(2);
  double alpha = node.number("alpha", 1), beta = node.number("beta", 1);
  bool transA = node.flag("transA"), transB = node.flag("transB");
  if (e.rank(a) != 2 || e.rank(b) != 2)
    return badInput(kNode, "operands are " + describeType(e.analysis, a) + " and " + describeType(e.analysis, b) + ", not matrices");
  int64_t columns = transB ? 0 : 1;
  auto k = e.staticDim(a, transA ? 0 : 1), other = e.staticDim(b, transB ? 1 : 0);
  if (k && other && *k != *other)
    return badInput(kNode, "cannot multiply " + describeType(e.analysis, a) + " and " + describeType(e.analysis, b) + ": " +
                               std::to_string(*k) + " is not " + std::to_string(*other));
  if (transA)
    a = e.transpose(a, {1, 0});
  bool plainBias = !c || (e.isConstant(c) && e.rank(c) == 1 && e.sameDim(c, 0, b, columns) && e.elementType(c) == e.elementType(a));
  if (e.isFloat(a) && !e.elementType(a).isBF16() && e.elementType(a) == e.elementType(b) && e.isConstant(b) && plainBias && alpha == 1 && (beta == 1 || !c)) {
    llvm::SmallVector<Value> operands{a, b};
    if (c)
      operands.push_back(c);
    llvm::SmallVector<NamedAttribute> attributes;
    if (!transB)
      attributes.push_back(e.unit("transposed"));
    node.set(0, e.op("llm.linear", operands, attributes));
    return {};
  }
  Value result = e.matmul(a, transB ? e.transpose(b, {1, 0}) : b);
  result = e.mul(result, alpha);
  if (c && beta != 0)
    result = e.add(result, e.mul(c, beta));
  node.set(0, result);
  return {};
}

/// A zero point of one element, or one per row (of the left) or column (of the right operand).
static Value withoutZeroPoint(Emitter &e, Value x, Value zeroPoint, bool left) {
  Type i32 = e.builder.getI32Type();
  Value wide = e.cast(x, i32);
  if (!zeroPoint)
    return wide;
  zeroPoint = e.cast(zeroPoint, i32);
  if (e.rank(zeroPoint) == 1 && left && e.staticDim(zeroPoint, 0) != 1)
    zeroPoint = e.expandDims(zeroPoint, 1);
  return e.sub(wide, zeroPoint);
}

Value integerMatMul(Emitter &e, Value a, Value b, Value aZero, Value bZero) {
  return e.matmul(withoutZeroPoint(e, a, aZero, true), withoutZeroPoint(e, b, bZero, false));
}

Status importMatMulInteger(Node &node) {
  if (node.requireInputs(2))
    node.set(0, integerMatMul(node.emit, node.input(0), node.input(1), node.input(2), node.input(3)));
  return {};
}

/// Inputs: a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.
Status importQLinearMatMul(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(8))
    return {};
  Value sum = integerMatMul(e, node.input(0), node.input(3), node.input(2), node.input(5));
  Value aScale = e.cast(node.input(1), e.f32()), bScale = e.cast(node.input(4), e.f32());
  if (e.rank(aScale) == 1 && e.staticDim(aScale, 0) != 1)
    aScale = e.expandDims(aScale, 1);
  Value real = e.mul(e.cast(sum, e.f32()), e.div(e.mul(aScale, bScale), e.cast(node.input(6), e.f32())));
  node.set(0, quantizeTo(e, real, node.input(7), e.elementType(node.input(7))));
  return {};
}

} // namespace llmopt::onnx
