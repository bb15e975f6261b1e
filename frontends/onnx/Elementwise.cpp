//===- Elementwise.cpp - one element from the elements at its index -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace llmopt::onnx {

//===----------------------------------------------------------------------===//
// One input
//===----------------------------------------------------------------------===//

Status importUnary(Node &node) {
  llvm::StringRef op = llvm::StringSwitch<llvm::StringRef>(node.opType())
                           .Case("Abs", "llm.abs").Case("Acos", "llm.acos").Case("Acosh", "llm.acosh").Case("Asin", "llm.asin")
                           .Case("Asinh", "llm.asinh").Case("Atan", "llm.atan").Case("Atanh", "llm.atanh").Case("Ceil", "llm.ceil")
                           .Case("Cos", "llm.cos").Case("Cosh", "llm.cosh").Case("Erf", "llm.erf").Case("Exp", "llm.exp")
                           .Case("Floor", "llm.floor").Case("Log", "llm.log").Case("Neg", "llm.neg").Case("Not", "llm.not")
                           .Case("BitwiseNot", "llm.not").Case("Reciprocal", "llm.reciprocal").Case("Relu", "llm.relu")
                           .Case("Round", "llm.round").Case("Sigmoid", "llm.sigmoid").Case("Sign", "llm.sign").Case("Sin", "llm.sin")
                           .Case("Sinh", "llm.sinh").Case("Softplus", "llm.softplus").Case("Sqrt", "llm.sqrt").Case("Tan", "llm.tan")
                           .Case("Tanh", "llm.tanh");
  if (node.requireInputs(1))
    node.set(0, node.emit.unary(op, node.input(0)));
  return {};
}

Status importIdentity(Node &node) {
  if (node.requireInputs(1))
    node.set(0, node.input(0));
  return {};
}

Status importIsNaN(Node &node) {
  if (!node.requireInputs(1))
    return {};
  node.set(0, node.emit.op("llm.isnan", node.input(0)));
  return {};
}

Status importIsInf(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0), infinite = e.op("llm.isinf", x);
  bool negative = node.flag("detect_negative", true), positive = node.flag("detect_positive", true);
  if (!negative || !positive) {
    Value wanted = negative ? e.compare(llm::ComparePredicate::lt, x, 0.0) : e.compare(llm::ComparePredicate::gt, x, 0.0);
    infinite = negative || positive ? e.binary("llm.and", infinite, wanted) : e.compare(llm::ComparePredicate::ne, x, x);
    if (!negative && !positive)
      infinite = e.binary("llm.and", infinite, e.unary("llm.not", infinite));
  }
  node.set(0, infinite);
  return {};
}

/// At inference dropout passes its input through and its mask is all true.
Status importDropout(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  auto training = e.ints(node.input(2));
  auto ratio = e.floats(node.input(1));
  bool isOff = !node.input(2) || (training && training->size() == 1 && !training->front()), dropsNothing = ratio && ratio->size() == 1 && ratio->front() == 0;
  if (!isOff && !dropsNothing)
    return unsupported(kUnsupported, training ? "training_mode is set" : "training_mode is not known when compiling");
  node.set(0, node.input(0));
  if (node.wants(1)) {
    Type type = node.opset() >= 10 ? e.builder.getI1Type() : e.elementType(node.input(0));
    node.set(1, e.broadcast(e.scalar(type, 1), e.shapeOf(node.input(0))));
  }
  return {};
}

Status importClip(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0), low = node.input(1), high = node.input(2);
  if (node.opset() < 11) {
    low = node.has("min") ? e.scalar(e.elementType(x), node.number("min", 0)) : Value();
    high = node.has("max") ? e.scalar(e.elementType(x), node.number("max", 0)) : Value();
  }
  if (low)
    x = e.max(x, e.toScalar(low));
  if (high)
    x = e.min(x, e.toScalar(high));
  node.set(0, x);
  return {};
}

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

/// A power of two not below (`up`) or not above |x|, down to 2^-127; a cast to e8m0 takes the nearest one.
static Value powerOfTwo(Emitter &e, Value x, bool up) {
  Type i32 = e.builder.getI32Type();
  Value bits = e.bitcast(e.unary("llm.abs", x), i32);
  if (up)
    bits = e.add(bits, double(0x7fffff));
  Value power = e.bitcast(e.binary("llm.and", bits, e.scalar(i32, double(0x7f800000))), e.f32());
  // Subnormal numbers have no exponent of their own.
  Value smallest = e.scalar(e.f32(), 0x1p-127), next = e.scalar(e.f32(), 0x1p-126);
  Value small = up ? e.select(e.compare(llm::ComparePredicate::le, x, smallest), smallest, next) : smallest;
  power = e.select(e.compare(llm::ComparePredicate::lt, x, next), small, power);
  return e.select(e.op("llm.isnan", x), x, power);
}

static Value importCastTo(Node &node, Type type) {
  Emitter &e = node.emit;
  Value x = node.input(0);
  std::string mode = node.text("round_mode", "up");
  if (mode != "up" && mode != "down" && mode != "nearest")
    e.invalid("attribute 'round_mode' is '" + mode + "', not up, down or nearest");
  if (isa_and_nonnull<Float8E8M0FNUType>(type) && mode != "nearest" && e.elementType(x) != type)
    x = powerOfTwo(e, e.cast(x, e.f32()), mode == "up");
  return e.cast(x, type, !node.flag("saturate", true));
}

Status importCast(Node &node) {
  if (!node.has("to"))
    return badInput(kNode, "attribute 'to' is missing");
  if (node.requireInputs(1))
    node.set(0, importCastTo(node, node.elementTypeAttribute("to", Type())));
  return {};
}

Status importCastLike(Node &node) {
  if (node.requireInputs(2))
    node.set(0, importCastTo(node, node.emit.elementType(node.input(1))));
  return {};
}

Status importBitCast(Node &node) {
  if (!node.has("to"))
    return badInput(kNode, "attribute 'to' is missing");
  if (node.requireInputs(1))
    node.set(0, node.emit.bitcast(node.input(0), node.elementTypeAttribute("to", Type())));
  return {};
}

//===----------------------------------------------------------------------===//
// Two inputs and more
//===----------------------------------------------------------------------===//

Status importBinary(Node &node) {
  Emitter &e = node.emit;
  llvm::StringRef op = llvm::StringSwitch<llvm::StringRef>(node.opType())
                           .Case("Add", "llm.add").Case("Sub", "llm.sub").Case("Mul", "llm.mul").Case("Div", "llm.div")
                           .Case("Pow", "llm.pow").Cases({"And", "BitwiseAnd"}, "llm.and").Cases({"Or", "BitwiseOr"}, "llm.or")
                           .Cases({"Xor", "BitwiseXor"}, "llm.xor");
  if (!node.requireInputs(2))
    return {};
  bool logical = node.opType() == "And" || node.opType() == "Or" || node.opType() == "Xor";
  if (logical && !e.isBool(node.input(0)))
    e.invalid("operands are " + describeType(e.analysis, node.input(0)) + ", not bool");
  if (node.opType().starts_with("Bitwise") && e.isFloat(node.input(0)))
    e.invalid("operands are " + describeType(e.analysis, node.input(0)) + ", not integers");
  node.set(0, e.binary(op, node.input(0), node.legacyOperand(node.input(1), node.input(0))));
  return {};
}

Status importMod(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  bool trunc = node.flag("fmod");
  if (!trunc && e.isFloat(node.input(0)) && node.opset() < 28)
    e.invalid("floats need fmod = 1");
  llvm::SmallVector<NamedAttribute> attributes;
  if (trunc)
    attributes.push_back(e.unit("trunc"));
  node.set(0, e.binary("llm.mod", node.input(0), node.input(1), attributes));
  return {};
}

Status importBitShift(Node &node) {
  std::string direction = node.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT")
    return badInput(kNode, "attribute 'direction' is neither LEFT nor RIGHT");
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), y = node.input(1);
  if (direction == "LEFT" || e.elementType(x).isUnsignedInteger()) {
    node.set(0, e.binary(direction == "LEFT" ? "llm.shl" : "llm.shr", x, y));
    return {};
  }
  // llm.shr fills with zeros: shift the complement of negative numbers.
  Value isNegative = e.compare(llm::ComparePredicate::lt, x, 0.0);
  Value magnitude = e.select(isNegative, e.unary("llm.not", x), x);
  Value shifted = e.binary("llm.shr", magnitude, y);
  node.set(0, e.select(isNegative, e.unary("llm.not", shifted), shifted));
  return {};
}

Status importCompare(Node &node) {
  using P = llm::ComparePredicate;
  P predicate = llvm::StringSwitch<P>(node.opType()).Case("Equal", P::eq).Case("Less", P::lt).Case("LessOrEqual", P::le)
                    .Case("Greater", P::gt).Default(P::ge);
  if (node.requireInputs(2))
    node.set(0, node.emit.compare(predicate, node.input(0), node.legacyOperand(node.input(1), node.input(0))));
  return {};
}

Status importVariadic(Node &node) {
  Emitter &e = node.emit;
  llvm::StringRef op = llvm::StringSwitch<llvm::StringRef>(node.opType()).Case("Max", "llm.max").Case("Min", "llm.min").Default("llm.add");
  if (node.inputCount() == 0 || !node.requireInputs(node.inputCount()))
    return badInput(kNode, "an input is missing");
  Value result = node.input(0);
  for (Value next : node.inputs().drop_front())
    result = e.binary(op, result, next);
  if (node.opType() == "Mean")
    result = e.div(result, double(node.inputCount()));
  node.set(0, result);
  return {};
}

Status importWhere(Node &node) {
  if (node.requireInputs(3))
    node.set(0, node.emit.select(node.input(0), node.input(1), node.input(2)));
  return {};
}

} // namespace llmopt::onnx
