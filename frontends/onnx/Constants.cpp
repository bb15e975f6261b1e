//===- Constants.cpp - tensors made from attributes and numbers ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include "onnx.pb.h"

#include <cmath>

using namespace mlir;

namespace llmopt::onnx {

/// Longest range computed here; longer ones are computed when the model runs.
static constexpr int64_t kMaxRange = 65536;

Status importConstant(Node &node) {
  Emitter &e = node.emit;
  if (const AttributeProto *value = node.attribute("value")) {
    if (!value->has_t())
      return badInput(kNode, "attribute 'value' is no tensor");
    LLMOPT_ASSIGN(Value tensor, node.importer.materialize(value->t(), "its value"));
    node.set(0, tensor);
  } else if (node.has("value_float")) {
    node.set(0, e.scalar(e.f32(), node.number("value_float", 0)));
  } else if (node.has("value_int")) {
    node.set(0, e.integer(node.integer("value_int", 0)));
  } else if (auto ints = node.integers("value_ints")) {
    node.set(0, e.vector(*ints));
  } else if (auto floats = node.numbers("value_floats")) {
    llvm::SmallVector<float> values(floats->begin(), floats->end());
    node.set(0, e.constant(DenseElementsAttr::get(RankedTensorType::get({int64_t(values.size())}, e.f32()), llvm::ArrayRef<float>(values))));
  } else if (!e.failed()) {
    return node.attributes().empty() ? badInput(kNode, "the constant has no value")
                                     : unsupported(kUnsupported, "strings and sparse tensors are not supported");
  }
  return {};
}

Status importConstantOfShape(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value value = e.scalar(e.f32(), 0), shape = node.input(0);
  if (const AttributeProto *attribute = node.attribute("value")) {
    LLMOPT_ASSIGN(Value tensor, node.importer.materialize(attribute->t(), "its value"));
    value = e.toScalar(tensor);
    if (auto elements = e.floats(tensor); elements && elements->size() == 1)
      value = e.scalar(e.elementType(tensor), elements->front()); // so that it is a constant, not a reshape of one
  }
  if (!e.elementType(shape).isInteger(64) || e.rank(shape) != 1)
    return badInput(kNode, "the shape is " + describeType(e.analysis, shape) + ", not an i64 vector");
  if (auto known = e.ints(shape))
    for (int64_t dim : *known)
      if (dim < 0)
        return badInput(kNode, "the shape has the negative entry " + std::to_string(dim));
  auto declared = node.declaredShape(0);
  if (!e.staticDim(shape, 0) && declared)
    shape = e.vector(*declared);
  node.set(0, e.staticDim(shape, 0) == 0 ? value : e.broadcast(value, shape));
  return {};
}

Status importRange(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value start = e.toScalar(node.input(0)), limit = e.toScalar(node.input(1)), delta = e.toScalar(node.input(2));
  if (e.elementType(start) != e.elementType(limit) || e.elementType(start) != e.elementType(delta))
    e.invalid("start, limit and delta have different element types");
  auto s = e.floats(start), l = e.floats(limit), d = e.floats(delta);
  if (d && d->front() == 0)
    e.invalid("delta is 0");
  if (e.isFloat(start) && s && l && d && !e.failed()) {
    double count = std::ceil((l->front() - s->front()) / d->front());
    if (count <= double(kMaxRange)) {
      llvm::SmallVector<Attribute> elements;
      for (int64_t i = 0; i < int64_t(count); ++i)
        elements.push_back(e.builder.getFloatAttr(e.elementType(start), s->front() + double(i) * d->front()));
      auto type = RankedTensorType::get({int64_t(elements.size())}, e.elementType(start));
      node.set(0, e.constant(DenseElementsAttr::get(type, llvm::ArrayRef<Attribute>(elements))));
      return {};
    }
  }
  node.set(0, e.op("llm.range", {start, limit, delta}));
  return {};
}

Status importEyeLike(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  if (e.rank(x) != 2)
    return badInput(kNode, "its input has rank " + std::to_string(e.rank(x)) + ", not 2");
  Type type = node.elementTypeAttribute("dtype", e.elementType(x));
  Value rows = e.expandDims(e.add(e.iota(x, 0), e.integer(node.integer("k", 0))), 1), columns = e.iota(x, 1);
  node.set(0, e.cast(e.compare(llm::ComparePredicate::eq, rows, columns), type));
  return {};
}

} // namespace llmopt::onnx
