//===- AttentionBuilder.cpp - what all attention operators share --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"

#include <cmath>

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;
using K = llm::ReduceKind;

Value splitHeads(Emitter &e, Value x, int64_t heads) {
  if (!x)
    return {};
  auto width = e.staticDim(x, 2);
  if (e.rank(x) != 3 || !width || heads < 1 || *width % heads != 0) {
    e.invalid(describeType(e.analysis, x) + " does not split into " + std::to_string(heads) + " heads");
    return {};
  }
  return e.transpose(e.reshape(x, {0, 0, heads, *width / heads}), {0, 2, 1, 3});
}

Value mergeHeads(Emitter &e, Value x) {
  auto heads = e.staticDim(x, 1), size = e.staticDim(x, 3);
  if (x && (!heads || !size)) {
    e.unsupported("heads and head size of " + describeType(e.analysis, x) + " are not known");
    return {};
  }
  return x ? e.reshape(e.transpose(x, {0, 2, 1, 3}), {0, 0, *heads * *size}) : Value();
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// Positions of queries [.., S, 1] and keys [T].
static Value queryPositions(Emitter &e, const AttentionSpec &spec) {
  Value position = e.expandDims(e.iota(spec.query, 2), 1);
  return spec.first ? e.add(position, spec.first) : position;
}

/// Writes causality and windows that llm.attention has no attribute for into the masks.
static void explainPositions(Emitter &e, AttentionSpec &spec) {
  bool causal = spec.causal || spec.right == 0;
  bool bySpec = spec.firstIsRest; // llm.attention counts from T - S
  if (!bySpec && !spec.first)     // as long as the keys are
    bySpec = e.sameDim(spec.query, 2, spec.key, 2);
  if (bySpec) {
    spec.causal = causal;
    if (causal || spec.right <= 0)
      spec.right = -1;
    if (spec.right < 0)
      return;
  }
  Value queries = queryPositions(e, spec), keys = e.iota(spec.key, 2);
  if (spec.right > 0 || (causal && !bySpec))
    spec.masks.push_back(e.compare(P::le, keys, spec.right > 0 && !causal ? e.add(queries, double(spec.right)) : queries));
  spec.right = -1;
  if (bySpec)
    return;
  if (spec.left >= 0)
    spec.masks.push_back(e.compare(P::ge, keys, e.sub(queries, double(spec.left))));
  spec.left = -1;
  spec.causal = false;
}

/// One bool and one float mask at most; null if there is none.
struct Masks {
  Value allowed, added;
};
static Masks joinMasks(Emitter &e, const AttentionSpec &spec) {
  Masks joined;
  for (Value mask : spec.masks)
    if (e.isBool(mask))
      joined.allowed = joined.allowed ? e.binary("llm.and", joined.allowed, mask) : mask;
    else
      joined.added = joined.added ? e.add(joined.added, e.cast(mask, e.elementType(joined.added))) : mask;
  return joined;
}

static Value asAdded(Emitter &e, Value allowed, Type type) {
  return e.select(allowed, e.scalar(type, 0), e.scalar(type, -std::numeric_limits<double>::infinity()));
}

static Value joinedMask(Emitter &e, const AttentionSpec &spec) {
  Masks joined = joinMasks(e, spec);
  if (!joined.allowed || !joined.added)
    return joined.allowed ? joined.allowed : joined.added;
  return e.select(joined.allowed, joined.added, e.scalar(e.elementType(joined.added), -std::numeric_limits<double>::infinity()));
}

static bool checkSpec(Emitter &e, AttentionSpec &spec) {
  for (Value v : {spec.query, spec.key, spec.value}) {
    if (!v)
      return false;
    if (e.rank(v) != 4 || !e.isFloat(v) || e.elementType(v) != e.elementType(spec.query))
      e.invalid("queries, keys and values are " + describeType(e.analysis, spec.query) + ", " + describeType(e.analysis, spec.key) +
                " and " + describeType(e.analysis, spec.value));
  }
  auto heads = e.staticDim(spec.query, 1), kvHeads = e.staticDim(spec.key, 1), size = e.staticDim(spec.query, 3),
       keySize = e.staticDim(spec.key, 3);
  if (!heads || !kvHeads || !size)
    e.unsupported("heads and head size are not known: " + describeType(e.analysis, spec.query));
  else if (*kvHeads < 1 || *heads % *kvHeads != 0 || keySize != size || e.staticDim(spec.value, 1) != kvHeads || *size < 1)
    e.invalid("heads or sizes of " + describeType(e.analysis, spec.query) + ", " + describeType(e.analysis, spec.key) + " and " +
              describeType(e.analysis, spec.value) + " do not go together");
  for (Value mask : spec.masks)
    if (mask && (e.rank(mask) > 4 || (!e.isBool(mask) && !e.isFloat(mask))))
      e.invalid("the mask is " + describeType(e.analysis, mask));
  if (spec.scale == 0 && size)
    spec.scale = 1 / std::sqrt(double(*size));
  return !e.failed();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Heads that share keys stand in a dimension of their own: [B, G, H / G, S, size] and [B, G, 1, T, size].
static Value groupedProduct(Emitter &e, Value left, Value right, int64_t kvHeads, bool transposed) {
  int64_t heads = *e.staticDim(left, 1);
  if (heads == kvHeads)
    return e.matmul(left, transposed ? e.transpose(right, {0, 1, 3, 2}) : right);
  Value l = e.reshapeDims(left, {{left, 0}, kvHeads, heads / kvHeads, {left, 2}, {left, 3}}), r = e.expandDims(right, 2);
  Value product = e.matmul(l, transposed ? e.transpose(r, {0, 1, 2, 4, 3}) : r);
  return e.reshapeDims(product, {{left, 0}, heads, {left, 2}, {product, 4}});
}

Value attentionScores(Emitter &e, AttentionSpec spec, ScoreStage stage) {
  if (!checkSpec(e, spec))
    return {};
  Type type = e.elementType(spec.query);
  int64_t kvHeads = *e.staticDim(spec.key, 1);
  Value scores = e.mul(groupedProduct(e, e.widen(spec.query), e.widen(spec.key), kvHeads, true), spec.scale);
  if (stage == ScoreStage::Product)
    return e.cast(scores, type);
  if (spec.softcap > 0)
    scores = e.mul(e.unary("llm.tanh", e.div(scores, spec.softcap)), spec.softcap);
  if (stage == ScoreStage::Capped)
    return e.cast(scores, type);
  // Everything as one float mask: llm.attention's attributes are not at hand here.
  if (spec.firstIsRest)
    spec.first = e.sub(e.dim(spec.key, 2), e.dim(spec.query, 2));
  spec.firstIsRest = false;
  Value queries = queryPositions(e, spec), keys = e.iota(spec.key, 2);
  if (spec.causal || spec.right >= 0)
    spec.masks.push_back(e.compare(P::le, keys, spec.causal ? queries : e.add(queries, double(spec.right))));
  if (spec.left >= 0)
    spec.masks.push_back(e.compare(P::ge, keys, e.sub(queries, double(spec.left))));
  Masks joined = joinMasks(e, spec);
  Value mask = joined.added ? e.cast(joined.added, e.elementType(scores)) : Value();
  if (joined.allowed) {
    Value closed = asAdded(e, joined.allowed, e.elementType(scores));
    mask = mask ? e.add(mask, closed) : closed;
  }
  if (mask)
    scores = e.add(scores, mask);
  if (stage == ScoreStage::Masked)
    return e.cast(scores, type);
  if (spec.sinks) { // one more column, dropped again
    Value column = e.reshape(e.cast(spec.sinks, e.elementType(scores)), {1, *e.staticDim(spec.query, 1), 1, 1});
    column = e.broadcast(column, e.shapeVector({{scores, 0}, {scores, 1}, {scores, 2}, 1}));
    Value all = e.softmax(e.concat({scores, column}, 3), 3);
    return e.slice(all, 3, 0, -1);
  }
  Value softmax = e.softmax(scores, 3);
  if (mask) { // a row that sees nothing
    Value best = e.reduce(K::max, mask, e.rank(mask) - 1);
    Value nothing = e.compare(P::eq, best, -std::numeric_limits<double>::infinity());
    softmax = e.select(nothing, e.scalar(e.elementType(softmax), 0), softmax);
  }
  return e.cast(softmax, type);
}

Value attendWith(Emitter &e, Value weights, Value value) {
  if (!weights || !value)
    return {};
  return groupedProduct(e, weights, e.cast(value, e.elementType(weights)), *e.staticDim(value, 1), false);
}

Value attend(Emitter &e, AttentionSpec spec) {
  if (spec.sinks)
    return e.cast(attendWith(e, attentionScores(e, spec, ScoreStage::Softmax), spec.value), e.elementType(spec.query));
  if (!checkSpec(e, spec))
    return {};
  // Kernels hold queries in f32 or f16.
  if (Type type = e.elementType(spec.query); type.isBF16()) {
    spec.query = e.widen(spec.query), spec.key = e.widen(spec.key), spec.value = e.widen(spec.value);
    for (Value &mask : spec.masks)
      mask = e.isBool(mask) ? mask : e.widen(mask);
    return e.cast(attend(e, spec), type);
  }
  explainPositions(e, spec);
  Value mask = joinedMask(e, spec);
  llvm::SmallVector<Value> operands{spec.query, spec.key, spec.value};
  if (mask)
    operands.push_back(mask);
  llvm::SmallVector<NamedAttribute> attributes{e.f32Attr("scale", spec.scale)};
  if (spec.causal)
    attributes.push_back(e.unit("causal"));
  if (spec.left >= 0)
    attributes.push_back(e.attr("window", spec.left + 1));
  if (spec.softcap > 0)
    attributes.push_back(e.f32Attr("softcap", spec.softcap));
  return e.op("llm.attention", operands, attributes);
}

//===----------------------------------------------------------------------===//
// Rotary positions
//===----------------------------------------------------------------------===//

Value rotate(Emitter &e, Value x, Value cos, Value sin, int64_t rotated, bool interleaved, bool headsFirst) {
  auto size = e.staticDim(x, 3);
  if (!x || !cos || !sin || !size)
    return {};
  rotated = rotated == 0 ? *size : rotated;
  if (rotated > *size || rotated % 2 != 0 || e.rank(cos) != 3 || e.staticDim(cos, 2) != rotated / 2 || e.staticDim(sin, 2) != rotated / 2) {
    e.invalid("tables " + describeType(e.analysis, cos) + " and " + describeType(e.analysis, sin) + " do not go with " +
              std::to_string(rotated) + " rotated features of " + describeType(e.analysis, x));
    return {};
  }
  int64_t half = rotated / 2;
  Value wide = e.widen(x);
  cos = e.cast(e.expandDims(cos, headsFirst ? 1 : 2), e.elementType(wide));
  sin = e.cast(e.expandDims(sin, headsFirst ? 1 : 2), e.elementType(wide));
  auto part = [&](int64_t from, int64_t to, int64_t step) { return e.slice(wide, e.vector(from), e.vector(to), 3, step); };
  Value a = interleaved ? part(0, rotated, 2) : part(0, half, 1), b = interleaved ? part(1, rotated, 2) : part(half, rotated, 1);
  Value real = e.sub(e.mul(cos, a), e.mul(sin, b)), imaginary = e.add(e.mul(sin, a), e.mul(cos, b));
  Value turned;
  if (interleaved) {
    turned = e.concat({e.expandDims(real, 4), e.expandDims(imaginary, 4)}, 4);
    turned = e.reshapeDims(turned, {{turned, 0}, {turned, 1}, {turned, 2}, rotated});
  } else {
    turned = e.concat({real, imaginary}, 3);
  }
  if (rotated < *size)
    turned = e.concat({turned, part(rotated, *size, 1)}, 3);
  return e.cast(turned, e.elementType(x));
}

} // namespace llmopt::onnx
