//===- Node.cpp - one ONNX node as its importer sees it -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "Importer.h"
#include "TensorReader.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "onnx.pb.h"

using namespace mlir;

namespace llmopt::onnx {

/// AttributeProto.type
enum class AttributeType : int32_t { Float = 1, Int = 2, String = 3, Floats = 6, Ints = 7 };

llvm::StringRef Node::opType() const { return proto_.op_type(); }

bool Node::requireInputs(size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!input(i)) {
      emit.invalid("input " + std::to_string(i) + " is missing");
      return false;
    }
  return true;
}

std::optional<llvm::SmallVector<int64_t>> Node::constantInput(size_t i, llvm::StringRef what) {
  auto elements = emit.ints(input(i));
  if (!elements)
    emit.unsupported(what.str() + " come from a tensor that is not known when compiling");
  return elements;
}

size_t Node::outputCount() const { return size_t(proto_.output_size()); }
bool Node::wants(size_t i) const { return i < outputCount() && !proto_.output(int(i)).empty(); }

void Node::set(size_t i, Value value) {
  if (outputs_.size() <= i)
    outputs_.resize(i + 1);
  outputs_[i] = value;
}

std::optional<llvm::SmallVector<int64_t>> Node::declaredShape(size_t i) const {
  return wants(i) ? importer.declaredStaticShape(proto_.output(int(i))) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

/// IR versions before 3 had no `type`; then whatever the reader asks for is right.
const AttributeProto *Node::typed(llvm::StringRef name, AttributeType wanted) {
  int32_t type = int32_t(wanted);
  const AttributeProto *attribute = attributes_.lookup(name);
  if (!attribute || !attribute->has_type() || attribute->type() == type)
    return attribute;
  emit.invalid("attribute '" + name.str() + "' has type " + std::to_string(attribute->type()) + ", expected " + std::to_string(type));
  return nullptr;
}

int64_t Node::integer(llvm::StringRef name, int64_t byDefault) {
  const AttributeProto *attribute = typed(name, AttributeType::Int);
  return attribute ? attribute->i() : byDefault;
}

double Node::number(llvm::StringRef name, double byDefault) {
  const AttributeProto *attribute = typed(name, AttributeType::Float);
  return attribute ? attribute->f() : byDefault;
}

std::string Node::text(llvm::StringRef name, llvm::StringRef byDefault) {
  const AttributeProto *attribute = typed(name, AttributeType::String);
  return attribute ? attribute->s() : byDefault.str();
}

std::optional<llvm::SmallVector<int64_t>> Node::integers(llvm::StringRef name) {
  const AttributeProto *attribute = typed(name, AttributeType::Ints);
  if (!attribute)
    return std::nullopt;
  return llvm::SmallVector<int64_t>(attribute->ints().begin(), attribute->ints().end());
}

std::optional<llvm::SmallVector<double>> Node::numbers(llvm::StringRef name) {
  const AttributeProto *attribute = typed(name, AttributeType::Floats);
  if (!attribute)
    return std::nullopt;
  return llvm::SmallVector<double>(attribute->floats().begin(), attribute->floats().end());
}

int64_t Node::requiredInteger(llvm::StringRef name, int64_t low, int64_t high) {
  if (!has(name)) {
    emit.invalid("attribute '" + name.str() + "' is missing");
    return low;
  }
  int64_t value = integer(name, low);
  if (value >= low && value <= high)
    return value;
  emit.invalid("attribute '" + name.str() + "' is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
               std::to_string(high));
  return low;
}

Value Node::legacyOperand(Value second, Value first) {
  if (opset_ >= 7 || !proto_.domain().empty() || !flag("broadcast") || !has("axis") || !second || !first)
    return second;
  int64_t rank = emit.rank(first), axis = emit.axis(integer("axis", 0), rank), after = rank - axis - emit.rank(second);
  if (after < 0) {
    emit.invalid("operands " + describeType(emit.analysis, first) + " and " + describeType(emit.analysis, second) +
                 " do not go with axis " + std::to_string(axis));
    return {};
  }
  return emit.expandDims(second, llvm::to_vector(llvm::seq<int64_t>(emit.rank(second), emit.rank(second) + after)));
}

Type Node::elementTypeAttribute(llvm::StringRef name, Type byDefault) {
  bool byName = opset_ < 6 && proto_.domain().empty() && has(name) && attribute(name)->has_s(); // "FLOAT"
  int64_t number = byName ? onnxTypeNumber(text(name, "")) : integer(name, 0);
  if (number == 0)
    return byDefault;
  auto dtype = onnx::dtypeOf(number > 0 && number < 1000 ? int32_t(number) : 999, "attribute '" + name.str() + "'");
  if (dtype)
    return llm::elementTypeOf(emit.builder.getContext(), *dtype);
  if (dtype.error().kind == ErrorKind::Unsupported)
    emit.unsupported(dtype.error().message);
  else
    emit.invalid(dtype.error().message);
  return byDefault;
}

} // namespace llmopt::onnx
