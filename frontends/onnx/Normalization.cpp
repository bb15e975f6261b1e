//===- Normalization.cpp - normalization and softmax --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Normalization.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

using K = llm::ReduceKind;

//===----------------------------------------------------------------------===//
// Over the last dimensions
//===----------------------------------------------------------------------===//

static bool isVectorOfLastDim(Emitter &e, Value v, Value x) {
  return !v || (e.rank(v) == 1 && e.sameDim(v, 0, x, e.rank(x) - 1));
}

Normalized layerNorm(Emitter &e, Value x, Value scale, Value bias, double epsilon, int64_t axis, bool wantsStatistics) {
  if (!x)
    return {};
  bool plain = axis == e.rank(x) - 1 && isVectorOfLastDim(e, scale, x) && isVectorOfLastDim(e, bias, x) && !wantsStatistics &&
               (!scale || e.elementType(scale) == e.elementType(x)) && (!bias || e.elementType(bias) == e.elementType(x));
  if (plain && e.isFloat(x)) {
    llvm::SmallVector<Value> operands{x};
    if (scale)
      operands.push_back(scale);
    if (bias)
      operands.push_back(bias);
    auto segments = e.builder.getDenseI32ArrayAttr({1, scale ? 1 : 0, bias ? 1 : 0});
    return {e.op("llm.layer_norm", operands, {e.f32Attr("epsilon", epsilon), e.attr("operandSegmentSizes", Attribute(segments))}), {}, {}};
  }
  auto axes = llvm::to_vector(llvm::seq<int64_t>(axis, e.rank(x)));
  Value wide = e.widen(x), mean = e.reduce(K::mean, wide, axes), centred = e.sub(wide, mean);
  Value variance = e.reduce(K::mean, e.mul(centred, centred), axes);
  Value inverse = e.unary("llm.reciprocal", e.unary("llm.sqrt", e.add(variance, epsilon)));
  Value y = e.mul(centred, inverse);
  if (scale)
    y = e.mul(y, e.cast(scale, e.elementType(y)));
  if (bias)
    y = e.add(y, e.cast(bias, e.elementType(y)));
  return {e.cast(y, e.elementType(x)), mean, inverse};
}

Normalized rmsNorm(Emitter &e, Value x, Value scale, double epsilon, int64_t axis, bool wantsStatistics) {
  if (!x)
    return {};
  bool plain = axis == e.rank(x) - 1 && isVectorOfLastDim(e, scale, x) && !wantsStatistics && e.isFloat(x) &&
               (!scale || e.elementType(scale) == e.elementType(x));
  if (plain) {
    llvm::SmallVector<Value> operands{x};
    if (scale)
      operands.push_back(scale);
    return {e.op("llm.rms_norm", operands, e.f32Attr("epsilon", epsilon)), {}, {}};
  }
  auto axes = llvm::to_vector(llvm::seq<int64_t>(axis, e.rank(x)));
  Value wide = e.widen(x), squares = e.reduce(K::mean, e.mul(wide, wide), axes);
  Value inverse = e.unary("llm.reciprocal", e.unary("llm.sqrt", e.add(squares, epsilon)));
  Value y = e.mul(wide, inverse);
  if (scale)
    y = e.mul(y, e.cast(scale, e.elementType(y)));
  return {e.cast(y, e.elementType(x)), {}, inverse};
}

Status importLayerNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0);
  Normalized n = layerNorm(e, x, node.input(1), node.input(2), node.number("epsilon", 1e-5),
                           e.axis(node.integer("axis", -1), e.rank(x)), node.wants(1) || node.wants(2));
  node.set(0, n.result);
  node.set(1, n.mean);
  node.set(2, n.inverse);
  return {};
}

/// RMSNormalization of opset 23, and SimplifiedLayerNormalization as ONNX Runtime writes it (in either domain).
Status importRMSNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0);
  Normalized n = rmsNorm(e, x, node.input(1), node.number("epsilon", 1e-5), e.axis(node.integer("axis", -1), e.rank(x)), node.wants(1));
  node.set(0, n.result);
  node.set(1, n.inverse);
  return {};
}

//===----------------------------------------------------------------------===//
// Over other dimensions
//===----------------------------------------------------------------------===//

/// [C] to [C, 1, ..] for an input [N, C, ..].
static Value perChannel(Emitter &e, Value v, Value x) {
  auto after = llvm::to_vector(llvm::seq<int64_t>(1, std::max<int64_t>(e.rank(x) - 1, 1)));
  return e.cast(e.expandDims(v, after), e.elementType(x));
}

Status importBatchNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(5))
    return {};
  if (node.opset() < 9 && !node.flag("spatial", true))
    return unsupported(kUnsupported, "spatial = 0 is not supported");
  if (node.flag("training_mode") || node.wants(1))
    return unsupported(kUnsupported, "training mode is not supported");
  Value x = e.widen(node.input(0));
  Value mean = perChannel(e, node.input(3), x), variance = perChannel(e, node.input(4), x);
  Value deviation = e.unary("llm.sqrt", e.add(variance, node.number("epsilon", 1e-5)));
  Value y = e.mul(e.div(e.sub(x, mean), deviation), perChannel(e, node.input(1), x));
  node.set(0, e.cast(e.add(y, perChannel(e, node.input(2), x)), e.elementType(node.input(0))));
  return {};
}

/// Normalizes each of `groups` slices of the channels of [N, C, ..]; scale and bias are applied by the caller.
static Value groupStandard(Emitter &e, Value x, int64_t groups, double epsilon) {
  Value rows = e.reshape(x, {0, groups, -1});
  Normalized n = layerNorm(e, rows, {}, {}, epsilon, 2, false);
  return e.reshapeTo(n.result, e.shapeOf(x));
}

Status importInstanceNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value x = e.widen(node.input(0));
  if (e.rank(x) < 3 || !e.staticDim(x, 1))
    return unsupported(kUnsupported, "its input is " + describeType(e.analysis, x));
  Value y = groupStandard(e, x, *e.staticDim(x, 1), node.number("epsilon", 1e-5));
  y = e.add(e.mul(y, perChannel(e, node.input(1), x)), perChannel(e, node.input(2), x));
  node.set(0, e.cast(y, e.elementType(node.input(0))));
  return {};
}

/// Scale and bias are one per group before opset 21, one per channel since.
Status importGroupNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value x = e.widen(node.input(0)), scale = node.input(1), bias = node.input(2);
  auto channels = e.rank(x) >= 2 ? e.staticDim(x, 1) : std::nullopt;
  if (!channels)
    return unsupported(kUnsupported, "its input is " + describeType(e.analysis, x));
  int64_t groups = node.requiredInteger("num_groups", 1, std::max<int64_t>(*channels, 1));
  if (*channels % groups != 0)
    return badInput(kNode, std::to_string(*channels) + " channels do not split into " + std::to_string(groups) + " groups");
  if (node.opset() < 21) {
    llvm::SmallVector<int64_t> groupOf;
    for (int64_t c = 0; c < *channels; ++c)
      groupOf.push_back(c / (*channels / groups));
    scale = e.gather(scale, e.vector(groupOf), 0);
    bias = e.gather(bias, e.vector(groupOf), 0);
  }
  Value y = groupStandard(e, x, groups, node.number("epsilon", 1e-5));
  y = e.add(e.mul(y, perChannel(e, scale, x)), perChannel(e, bias, x));
  node.set(0, e.cast(y, e.elementType(node.input(0))));
  return {};
}

Status importLpNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  int64_t p = node.integer("p", 2), axis = e.axis(node.integer("axis", -1), e.rank(node.input(0)));
  if (p != 1 && p != 2)
    return badInput(kNode, "p is " + std::to_string(p) + ", neither 1 nor 2");
  Value x = e.widen(node.input(0));
  Value norm = p == 1 ? e.reduce(K::sum, e.unary("llm.abs", x), axis) : e.unary("llm.sqrt", e.reduce(K::sum, e.mul(x, x), axis));
  Value zero = e.compare(llm::ComparePredicate::eq, norm, 0.0);
  Value y = e.select(zero, e.scalar(e.elementType(x), 0), e.div(x, norm));
  node.set(0, e.cast(y, e.elementType(node.input(0))));
  return {};
}

Status importMeanVarianceNormalization(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  auto axes = node.integers("axes").value_or(llvm::SmallVector<int64_t>{0, 2, 3});
  for (int64_t &axis : axes)
    axis = e.axis(axis, e.rank(node.input(0)));
  llvm::sort(axes);
  Value x = e.widen(node.input(0)), centred = e.sub(x, e.reduce(K::mean, x, axes));
  Value deviation = e.unary("llm.sqrt", e.reduce(K::mean, e.mul(centred, centred), axes));
  node.set(0, e.cast(e.div(centred, e.add(deviation, 1e-9)), e.elementType(node.input(0))));
  return {};
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

static Value logSoftmax(Emitter &e, Value x, int64_t axis) {
  Value shifted = e.sub(x, e.reduce(K::max, x, axis));
  return e.sub(shifted, e.unary("llm.log", e.reduce(K::sum, e.unary("llm.exp", shifted), axis)));
}

/// One at the first largest element along `axis`, zero elsewhere.
static Value hardmax(Emitter &e, Value x, int64_t axis) {
  Value best = e.op("llm.arg_reduce", x, {e.attr("kind", Attribute(llm::ReduceKindAttr::get(e.builder.getContext(), K::max))),
                                          e.attr("axis", axis), e.unit("keepdims")});
  auto after = llvm::to_vector(llvm::seq<int64_t>(1, e.rank(x) - axis));
  Value index = e.expandDims(e.iota(x, axis), after);
  return e.cast(e.compare(llm::ComparePredicate::eq, index, best), e.elementType(x));
}

Status importSoftmax(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t rank = e.rank(x), axis = e.axis(node.integer("axis", node.opset() < 13 ? 1 : -1), rank);
  auto apply = [&](Value value, int64_t along) {
    if (node.opType() == "Softmax")
      return e.softmax(value, along);
    return node.opType() == "LogSoftmax" ? e.cast(logSoftmax(e, e.widen(value), along), e.elementType(value)) : hardmax(e, value, along);
  };
  if (node.opset() >= 13 || axis == rank - 1) {
    node.set(0, apply(x, axis));
    return {};
  }
  // Before opset 13: everything from `axis` on is one dimension.
  Value rows = e.op("llm.flatten", x, e.attr("axis", axis));
  node.set(0, e.reshapeTo(apply(rows, 1), e.shapeOf(x)));
  return {};
}

/// x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta
Status importLRN(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  int64_t size = node.requiredInteger("size", 1, 1 << 16), before = (size - 1) / 2;
  double alpha = node.number("alpha", 0.0001), beta = node.number("beta", 0.75), bias = node.number("bias", 1);
  Value x = node.input(0), wide = e.widen(x);
  if (e.rank(x) < 2 || !e.isFloat(x))
    return badInput(kNode, "its input is " + describeType(e.analysis, x));
  llvm::SmallVector<int64_t> pads(2 * size_t(e.rank(x)), 0);
  pads[1] = before, pads[size_t(e.rank(x)) + 1] = size - 1 - before;
  auto mode = e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), llm::PadMode::constant)));
  Value padded = e.op("llm.pad", {e.mul(wide, wide), e.vector(pads), e.scalar(e.elementType(wide), 0)}, mode), sum;
  for (int64_t i = 0; i < size; ++i) {
    Value slice = e.slice(padded, 1, i, i + 1 == size ? INT64_MAX : i + 1 - size);
    sum = sum ? e.add(sum, slice) : slice;
  }
  Value base = e.add(e.mul(sum, alpha / double(size)), bias);
  node.set(0, e.cast(e.div(wide, e.binary("llm.pow", base, e.scalar(e.elementType(wide), beta))), e.elementType(x)));
  return {};
}

} // namespace llmopt::onnx
