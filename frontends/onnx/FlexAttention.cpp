//===- FlexAttention.cpp - attention with subgraphs for its scores ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"
#include "Importer.h"

#include "onnx.pb.h"

#include <cmath>

using namespace mlir;

namespace llmopt::onnx {

/// Lets a subgraph change scores or probabilities; their shape and element type stay. Null: a problem was noted.
static Value modify(Node &node, llvm::StringRef name, Value x) {
  const AttributeProto *graph = node.attribute(name);
  if (!graph || !x)
    return x;
  if (!graph->has_g()) {
    node.emit.invalid("attribute '" + name.str() + "' is not a graph");
    return {};
  }
  auto values = node.importer.importSubgraph(graph->g(), x);
  if (!values) // its problems are recorded where they are
    return {};
  if (values->size() != 1 || !node.emit.sameShape(values->front(), x) || node.emit.elementType(values->front()) != node.emit.elementType(x)) {
    node.emit.invalid("the subgraph '" + name.str() + "' does not keep " + describeType(node.emit.analysis, x));
    return {};
  }
  return values->front();
}

Status importFlexAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value q = node.input(0), k = node.input(1), v = node.input(2);
  AttentionSpec spec;
  spec.query = q, spec.key = k, spec.value = v;
  spec.scale = node.number("scale", 0);
  Type byDefault = e.elementType(q).isF64() ? e.elementType(q) : e.f32();
  Type precision = node.elementTypeAttribute("softmax_precision", byDefault);
  if (!node.has("score_mod") && !node.has("prob_mod")) {
    node.set(0, attend(e, spec));
    return {};
  }
  Value scores = e.cast(attentionScores(e, spec, ScoreStage::Product), precision);
  if (!(scores = modify(node, "score_mod", scores)))
    return e.failed() ? e.status() : badInput(kNode, "");
  Value weights = e.cast(e.softmax(e.widen(scores), 3), precision);
  if (!(weights = modify(node, "prob_mod", weights)))
    return e.failed() ? e.status() : badInput(kNode, "");
  node.set(0, e.cast(attendWith(e, e.widen(weights), v), e.elementType(q)));
  return {};
}

} // namespace llmopt::onnx
