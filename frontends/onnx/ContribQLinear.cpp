//===- ContribQLinear.cpp - com.microsoft: operators on quantized tensors ===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

/// Inputs i, i + 1, i + 2: a tensor, its scale, its zero point (absent: 0). As f32.
static Value real(Node &node, size_t i) {
  Emitter &e = node.emit;
  Value zero = node.input(i + 2);
  return dequantize(e, node.input(i), e.toScalar(node.input(i + 1)), zero ? e.toScalar(zero) : Value(), 0, 0);
}

/// Sets the output, quantized with inputs i (scale) and i + 1 (zero point, absent: 0 of `type`).
static void setQuantized(Node &node, Value value, size_t i, Type type) {
  Emitter &e = node.emit;
  Value zero = node.input(i + 1);
  node.set(0, quantizeTo(e, e.div(value, e.toScalar(node.input(i))), zero ? e.toScalar(zero) : Value(), type));
}

/// QLinearAdd, QLinearMul: A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point.
Status importQLinearBinary(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2) || !node.input(3) || !node.input(4) || !node.input(6))
    return badInput(kNode, "an input is missing");
  Value a = real(node, 0), b = real(node, 3);
  setQuantized(node, node.opType() == "QLinearAdd" ? e.add(a, b) : e.mul(a, b), 6, e.elementType(node.input(0)));
  return {};
}

/// QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, QLinearGlobalAveragePool, QLinearReduceMean: X, X_scale, X_zero_point, Y_scale,
/// Y_zero_point.
Status importQLinearUnary(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2) || !node.input(3))
    return badInput(kNode, "an input is missing");
  Value x = real(node, 0), y;
  int64_t rank = e.rank(x);
  if (node.opType() == "QLinearSigmoid") {
    y = e.unary("llm.sigmoid", x);
  } else if (node.opType() == "QLinearLeakyRelu") {
    y = e.select(e.compare(llm::ComparePredicate::lt, x, 0.0), e.mul(x, node.number("alpha", 0.01)), x);
  } else if (node.opType() == "QLinearSoftmax") {
    int64_t axis = e.axis(node.integer("axis", -1), rank);
    if (node.integer("opset", 13) < 13 && axis != rank - 1) // rows were all that follows the axis
      return unsupported(kUnsupported, "softmax of opset < 13 over several dimensions is not supported");
    y = e.softmax(x, axis);
  } else if (node.opType() == "QLinearGlobalAveragePool") {
    bool last = node.flag("channels_last");
    y = e.reduce(llm::ReduceKind::mean, x, llvm::to_vector(last ? llvm::seq<int64_t>(1, rank - 1) : llvm::seq<int64_t>(2, rank)));
  } else {
    auto axes = node.integers("axes").value_or(llvm::to_vector(llvm::seq<int64_t>(0, rank)));
    for (int64_t &axis : axes)
      axis = e.axis(axis, rank);
    llvm::sort(axes);
    y = e.reduce(llm::ReduceKind::mean, x, axes, node.flag("keepdims", true));
  }
  setQuantized(node, y, 3, e.elementType(node.input(0)));
  return {};
}

/// Y_scale, Y_zero_point, then tensor, scale and zero point of each part.
Status importQLinearConcat(Node &node) {
  Emitter &e = node.emit;
  if (node.inputCount() < 5 || node.inputCount() % 3 != 2 || !node.requireInputs(node.inputCount()))
    return badInput(kNode, "an input is missing");
  llvm::SmallVector<Value> parts;
  for (size_t i = 2; i < node.inputCount(); i += 3)
    parts.push_back(real(node, i));
  Value joined = e.concat(parts, e.axis(node.integer("axis", 0), e.rank(parts[0])));
  setQuantized(node, joined, 0, e.elementType(node.input(2)));
  return {};
}

/// condition, X, x_scale, x_zero_point, Y, y_scale, y_zero_point, z_scale, z_zero_point.
Status importQLinearWhere(Node &node) {
  if (!node.requireInputs(9))
    return {};
  setQuantized(node, node.emit.select(node.input(0), real(node, 1), real(node, 4)), 7, node.emit.elementType(node.input(1)));
  return {};
}

} // namespace llmopt::onnx
