//===- Activation.cpp - activation functions ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

/// Computes in f32 where the element type is narrower, and comes back.
static Status inFloat(Node &node, llvm::function_ref<Value(Emitter &, Value)> compute) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  if (!e.isFloat(x)) {
    e.unsupported("it is given " + describeType(e.analysis, x) + ", llmopt supports floats");
    return {};
  }
  node.set(0, e.cast(compute(e, e.widen(x)), e.elementType(x)));
  return {};
}

Status importElu(Node &node) {
  double alpha = node.number("alpha", 1);
  return inFloat(node, [&](Emitter &e, Value x) {
    return e.select(e.compare(P::lt, x, 0.0), e.mul(e.sub(e.unary("llm.exp", x), 1), alpha), x);
  });
}

Status importSelu(Node &node) {
  bool isOld = node.opset() < 6;
  double alpha = node.number("alpha", isOld ? 1.6732 : 1.67326319217681884765625);
  double gamma = node.number("gamma", isOld ? 1.0507 : 1.05070102214813232421875);
  return inFloat(node, [&](Emitter &e, Value x) {
    Value low = e.sub(e.mul(e.unary("llm.exp", x), alpha), alpha);
    return e.mul(e.select(e.compare(P::le, x, 0.0), low, x), gamma);
  });
}

Status importCelu(Node &node) {
  double alpha = node.number("alpha", 1);
  if (alpha == 0)
    return badInput(kNode, "alpha is 0");
  return inFloat(node, [&](Emitter &e, Value x) {
    Value low = e.mul(e.sub(e.unary("llm.exp", e.div(x, alpha)), 1), alpha);
    return e.add(e.max(x, e.scalar(e.elementType(x), 0)), e.min(low, e.scalar(e.elementType(x), 0)));
  });
}

Status importLeakyRelu(Node &node) {
  double alpha = node.number("alpha", 0.01);
  return inFloat(node, [&](Emitter &e, Value x) { return e.select(e.compare(P::lt, x, 0.0), e.mul(x, alpha), x); });
}

Status importPRelu(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), slope = node.input(1);
  if (node.opset() < 7 && e.rank(slope) == 1 && e.staticDim(slope, 0) != 1 && e.rank(x) > 2) // one for each channel
    slope = e.expandDims(slope, llvm::to_vector(llvm::seq<int64_t>(1, e.rank(x) - 1)));
  node.set(0, e.select(e.compare(P::lt, x, 0.0), e.mul(x, slope), x));
  return {};
}

static Value clamp01(Emitter &e, Value x) {
  return e.max(e.min(x, e.scalar(e.elementType(x), 1)), e.scalar(e.elementType(x), 0));
}

Status importHardSigmoid(Node &node) {
  double alpha = node.number("alpha", 0.2), beta = node.number("beta", 0.5);
  return inFloat(node, [&](Emitter &e, Value x) { return clamp01(e, e.add(e.mul(x, alpha), beta)); });
}

Status importHardSwish(Node &node) {
  return inFloat(node, [&](Emitter &e, Value x) { return e.mul(x, clamp01(e, e.add(e.mul(x, 1.0 / 6), 0.5))); });
}

Status importMish(Node &node) {
  return inFloat(node, [&](Emitter &e, Value x) { return e.mul(x, e.unary("llm.tanh", e.unary("llm.softplus", x))); });
}

Status importSoftsign(Node &node) {
  return inFloat(node, [&](Emitter &e, Value x) { return e.div(x, e.add(e.unary("llm.abs", x), 1)); });
}

Status importThresholdedRelu(Node &node) {
  double alpha = node.number("alpha", 1);
  return inFloat(node, [&](Emitter &e, Value x) {
    return e.select(e.compare(P::gt, x, alpha), x, e.scalar(e.elementType(x), 0));
  });
}

Status importShrink(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  double lambd = node.number("lambd", 0.5), bias = node.number("bias", 0);
  Value x = node.input(0), wide = e.isFloat(x) ? e.widen(x) : e.cast(x, e.f32());
  Value inner = e.select(e.compare(P::gt, wide, lambd), e.sub(wide, bias), e.scalar(e.elementType(wide), 0));
  node.set(0, e.cast(e.select(e.compare(P::lt, wide, -lambd), e.add(wide, bias), inner), e.elementType(x)));
  return {};
}

Status importGelu(Node &node) {
  std::string approximate = node.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    return badInput(kNode, "approximate is '" + approximate + "', neither none nor tanh");
  return inFloat(node, [&](Emitter &e, Value x) {
    llvm::SmallVector<NamedAttribute> attributes;
    if (approximate == "tanh")
      attributes.push_back(e.unit("tanh"));
    return e.op("llm.gelu", x, attributes);
  });
}

Status importSwish(Node &node) {
  double alpha = node.number("alpha", 1);
  return inFloat(node, [&](Emitter &e, Value x) {
    return alpha == 1 ? e.unary("llm.silu", x) : e.mul(x, e.unary("llm.sigmoid", e.mul(x, alpha)));
  });
}

/// Swish(a) * b. The product is rounded once.
Status importSwiGLU(Node &node) {
  double alpha = node.number("alpha", 1);
  if (!node.requireInputs(2))
    return {};
  if (!node.emit.sameShape(node.input(0), node.input(1)))
    return badInput(kNode, "gate and value are " + describeType(node.emit.analysis, node.input(0)) + " and " +
                               describeType(node.emit.analysis, node.input(1)));
  return inFloat(node, [&](Emitter &e, Value x) {
    Value gate = alpha == 1 ? e.unary("llm.silu", x) : e.mul(x, e.unary("llm.sigmoid", e.mul(x, alpha)));
    return e.mul(gate, e.widen(node.input(1)));
  });
}

} // namespace llmopt::onnx
