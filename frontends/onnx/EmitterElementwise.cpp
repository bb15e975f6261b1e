//===- EmitterElementwise.cpp - elementwise words of the emitter ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Emitter.h"

using namespace mlir;

namespace llmopt::onnx {

/// Operations that take any element type, the others take floats.
static bool takesIntegers(llvm::StringRef name) {
  return name == "llm.neg" || name == "llm.abs" || name == "llm.sign" || name == "llm.relu" || name == "llm.not";
}

Value Emitter::unary(llvm::StringRef name, Value input) {
  if (!input)
    return {};
  if (!isFloat(input) && !takesIntegers(name))
    unsupported(name.drop_front(4).str() + " of " + describeType(analysis, input) + ", llmopt supports floats");
  return op(name, input);
}

bool Emitter::checkBroadcast(Value a, Value b) {
  if (!a || !b)
    return false;
  int64_t shared = std::min(rank(a), rank(b));
  for (int64_t back = 1; back <= shared; ++back) {
    auto x = staticDim(a, rank(a) - back), y = staticDim(b, rank(b) - back);
    if (x && y && *x != *y && *x != 1 && *y != 1) {
      invalid("shapes " + describeType(analysis, a) + " and " + describeType(analysis, b) + " do not broadcast");
      return false;
    }
  }
  return true;
}

Value Emitter::binary(llvm::StringRef name, Value lhs, Value rhs, ArrayRef<NamedAttribute> attributes) {
  if (!checkBroadcast(lhs, rhs))
    return {};
  if (elementType(lhs) != elementType(rhs) && name != "llm.pow")
    invalid("operands have different element types: " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs));
  return op(name, {lhs, rhs}, attributes);
}

Value Emitter::compare(llm::ComparePredicate predicate, Value lhs, Value rhs) {
  if (!checkBroadcast(lhs, rhs))
    return {};
  if (elementType(lhs) != elementType(rhs))
    invalid("operands have different element types: " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs));
  return op("llm.compare", {lhs, rhs}, attr("predicate", Attribute(llm::ComparePredicateAttr::get(builder.getContext(), predicate))));
}

Value Emitter::select(Value condition, Value lhs, Value rhs) {
  if (!checkBroadcast(condition, lhs) || !checkBroadcast(condition, rhs) || !checkBroadcast(lhs, rhs))
    return {};
  if (!isBool(condition))
    invalid("the condition is " + describeType(analysis, condition) + ", not bool");
  if (elementType(lhs) != elementType(rhs))
    invalid("operands have different element types: " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs));
  return op("llm.select", {condition, lhs, rhs}, {}, elementType(lhs));
}

Value Emitter::cast(Value input, Type type, bool overflow) {
  if (!input || !type || elementType(input) == type)
    return input;
  llvm::SmallVector<NamedAttribute> attributes;
  if (overflow && isNarrowFloat(type))
    attributes.push_back(unit("overflow"));
  return op("llm.cast", input, attributes, type);
}

Value Emitter::bitcast(Value input, Type type) {
  if (!input || !type || elementType(input) == type)
    return input;
  Type byte = builder.getIntegerType(8, /*isSigned=*/false); // in which the file format keeps a bool
  if (isBool(input))
    return bitcast(cast(input, byte), type);
  if (type.isInteger(1))
    return cast(bitcast(input, byte), type);
  if (elementType(input).getIntOrFloatBitWidth() != type.getIntOrFloatBitWidth()) {
    invalid("the bits of " + describeType(analysis, input) + " are not as many as those of the result's type");
    return {};
  }
  return op("llm.bitcast", input, {}, type);
}

} // namespace llmopt::onnx
