//===- ContribFused.cpp - com.microsoft: normalizations and fused epilogues ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Normalization.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

/// SkipLayerNormalization: input, skip, gamma, beta?, bias?. SkipSimplifiedLayerNormalization has no beta.
Status importSkipLayerNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  bool simplified = node.opType() == "SkipSimplifiedLayerNormalization";
  Value bias = node.input(simplified ? 3 : 4), beta = simplified ? Value() : node.input(3);
  Value sum = e.add(node.input(0), node.input(1));
  if (bias)
    sum = e.add(sum, bias);
  bool statistics = node.wants(1) || node.wants(2);
  double epsilon = node.number("epsilon", 1e-12);
  int64_t axis = e.rank(sum) - 1;
  Normalized n = simplified ? rmsNorm(e, sum, node.input(2), epsilon, axis, statistics)
                            : layerNorm(e, sum, node.input(2), beta, epsilon, axis, statistics);
  node.set(0, n.result);
  if (statistics) {
    node.set(1, n.mean);
    node.set(2, n.inverse);
  }
  if (node.wants(3))
    node.set(3, sum);
  return {};
}

/// The number of ones from the left in each row, which attention takes as mask.
static Value maskLengths(Emitter &e, Value mask, Value ids) {
  Type i32 = e.builder.getI32Type();
  if (!mask)
    return e.broadcast(e.scalar(i32, 0), e.dimVector(ids, 0));
  // Everything up to the first zero.
  auto attributes = {e.attr("axis", int64_t(1))};
  Value zeros = e.op("llm.cumsum", e.cast(e.compare(llm::ComparePredicate::ne, mask, 1.0), i32), attributes);
  return e.reduce(llm::ReduceKind::sum, e.cast(e.compare(llm::ComparePredicate::eq, zeros, 0.0), i32), 1, false);
}

/// Inputs: ids, segment ids?, word, position, segment? tables, gamma, beta, mask?, position ids?.
Status importEmbedLayerNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1) || !node.input(2) || !node.input(3) || !node.input(5) || !node.input(6))
    return badInput(kNode, "a required input is missing");
  Value ids = node.input(0), segments = node.input(1), positions = node.input(8);
  Value sum = e.gather(node.input(2), ids, 0);
  if (!positions)
    positions = e.iota(ids, 1);
  sum = e.add(sum, e.gather(node.input(3), positions, 0));
  if (segments && node.input(4))
    sum = e.add(sum, e.gather(node.input(4), segments, 0));
  node.set(0, layerNorm(e, sum, node.input(5), node.input(6), node.number("epsilon", 1e-12), 2, false).result);
  if (node.wants(1))
    node.set(1, maskLengths(e, node.input(7), ids));
  if (node.wants(2))
    node.set(2, sum);
  return {};
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

static Value gelu(Emitter &e, Value x, bool tanh) {
  if (x && !e.isFloat(x))
    e.invalid("gelu of " + describeType(e.analysis, x));
  llvm::SmallVector<NamedAttribute> attributes;
  if (tanh)
    attributes.push_back(e.unit("tanh"));
  return e.cast(e.op("llm.gelu", e.widen(x), attributes), e.elementType(x));
}

/// Gelu, BiasGelu (erf); FastGelu (tanh), all with an optional bias.
Status importContribGelu(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(1) ? e.add(node.input(0), node.input(1)) : node.input(0);
  node.set(0, gelu(e, x, node.opType() == "FastGelu"));
  return {};
}

Status importQuickGelu(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = e.widen(node.input(0));
  double alpha = node.number("alpha", 1.702);
  Value y = alpha == 1 ? e.unary("llm.silu", x) : e.mul(x, e.unary("llm.sigmoid", e.mul(x, alpha)));
  node.set(0, e.cast(y, e.elementType(node.input(0))));
  return {};
}

Status importBiasAdd(Node &node) { // X + bias + skip
  Emitter &e = node.emit;
  if (node.requireInputs(3))
    node.set(0, e.add(e.add(node.input(0), node.input(1)), node.input(2)));
  return {};
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// Swaps the last two dimensions.
static Value transposeOperand(Emitter &e, Value x, bool transpose) {
  if (!x || !transpose || e.rank(x) < 2)
    return x;
  auto order = llvm::to_vector(llvm::seq<int64_t>(0, e.rank(x)));
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return e.transpose(x, order);
}

Status importFusedMatMul(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  if (node.flag("transBatchA") || node.flag("transBatchB"))
    return unsupported(kUnsupported, "transBatchA and transBatchB are not supported");
  Value a = transposeOperand(e, node.input(0), node.flag("transA"));
  Value b = transposeOperand(e, node.input(1), node.flag("transB"));
  node.set(0, e.mul(e.matmul(a, b), node.number("alpha", 1)));
  return {};
}

static Value applyActivation(Node &node, Value x, const std::string &name) {
  Emitter &e = node.emit;
  if (name.empty())
    return x;
  if (name == "Relu")
    return e.unary("llm.relu", x);
  if (name == "Sigmoid")
    return e.unary("llm.sigmoid", x);
  if (name == "Tanh")
    return e.unary("llm.tanh", x);
  if (name == "LeakyRelu")
    return e.select(e.compare(llm::ComparePredicate::lt, x, 0.0), e.mul(x, node.number("activation_alpha", 0.01)), x);
  e.unsupported("activation '" + name + "' is not supported");
  return {};
}

Status importFusedGemm(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value a = transposeOperand(e, node.input(0), node.flag("transA"));
  Value b = transposeOperand(e, node.input(1), node.flag("transB"));
  Value y = e.mul(e.matmul(a, b), node.number("alpha", 1));
  if (node.input(2))
    y = e.add(y, e.mul(node.input(2), node.number("beta", 1)));
  node.set(0, applyActivation(node, y, node.text("activation", "")));
  return {};
}

Status importGemmFastGelu(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value y = e.matmul(node.input(0), node.input(1));
  node.set(0, gelu(e, node.input(2) ? e.add(y, node.input(2)) : y, true));
  return {};
}

//===----------------------------------------------------------------------===//
// Refused
//===----------------------------------------------------------------------===//

Status importGenerationLoop(Node &) {
  return unsupported(kUnsupported, "it is a generation loop around a model; export the model without this wrapper, llmopt generates itself");
}

Status importVendorBlob(Node &) {
  return unsupported(kUnsupported, "it holds a model compiled for one vendor's device; export the model itself");
}

} // namespace llmopt::onnx
