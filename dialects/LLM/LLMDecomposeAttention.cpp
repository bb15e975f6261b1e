//===- LLMDecomposeAttention.cpp - rope and attention in smaller operations
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpEmitter.h"

#include <limits>

using namespace mlir;
using namespace llmopt::llm;

using Decomposed = FailureOr<SmallVector<Value>>;

static constexpr int64_t kDynamic = ShapedType::kDynamic;

static int64_t times(int64_t a, int64_t b) { return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) ? kDynamic : a * b; }

//===----------------------------------------------------------------------===//
// Rope
//===----------------------------------------------------------------------===//

/// cos and sin of position * frequency as [tokens, 1, pairs].
static std::pair<Value, Value> rotations(OpEmitter &emit, RopeOp op, Type type) {
  Type f32 = emit.builder().getF32Type();
  Value angle = emit.binary<MulOp>(emit.expandDims(emit.cast(op.getPositions(), f32), 1), op.getFrequencies());
  auto finished = [&](Value wave) {
    if (!op.getScale().isExactlyValue(1.0f))
      wave = emit.binary<MulOp>(wave, emit.scalar(f32, op.getScale().convertToFloat()));
    return emit.cast(emit.expandDims(wave, 1), type);
  };
  Value cosine = finished(emit.unary<CosOp>(angle));
  return {cosine, finished(emit.unary<SinOp>(angle))};
}

// first' = first cos - second sin; second' = second cos + first sin; the rest stays.
Decomposed RopeOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getInput());
  Value x = emit.cast(getInput(), type);
  int64_t pairs = dimsOf(getFrequencies())[0], width = dimsOf(x)[2], rotated = times(pairs, 2);
  auto [cosine, sine] = rotations(emit, *this, type);
  Value zero = emit.vector(0), half = emit.dimVector(getFrequencies(), 0), whole = emit.binary<AddOp>(half, half);
  bool interleaved = getInterleaved();
  Value first = interleaved ? emit.slice(x, 2, zero, whole, 2, pairs) : emit.slice(x, 2, zero, half, 1, pairs);
  Value second = interleaved ? emit.slice(x, 2, emit.vector(1), whole, 2, pairs) : emit.slice(x, 2, half, whole, 1, pairs);
  Value left = emit.binary<SubOp>(emit.binary<MulOp>(first, cosine), emit.binary<MulOp>(second, sine));
  Value right = emit.binary<AddOp>(emit.binary<MulOp>(second, cosine), emit.binary<MulOp>(first, sine));
  Value turned;
  if (interleaved) {
    Value stacked = emit.concat({emit.expandDims(left, 3), emit.expandDims(right, 3)}, 3);
    turned = emit.reshape(stacked, {emit.dimVector(x, 0), emit.dimVector(x, 1), whole}, {dimsOf(x)[0], dimsOf(x)[1], rotated});
  } else {
    turned = emit.concat({left, right}, 2);
  }
  if (ShapedType::isDynamic(rotated) || rotated != width) {
    int64_t rest = ShapedType::isDynamic(rotated) || ShapedType::isDynamic(width) ? kDynamic : width - rotated;
    Value passed = emit.slice(x, 2, whole, emit.vector(std::numeric_limits<int64_t>::max()), 1, rest);
    turned = emit.concat({turned, passed}, 2);
  }
  return emit.finish(turned, getResult());
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

namespace {

/// Query heads that share a key-value head become one more dimension: [B, H, ..] <-> [B, G, H / G, ..].
class GroupedHeads {
public:
  GroupedHeads(OpEmitter &emit, AttentionOp op) : emit_(emit), query_(op.getQuery()), key_(op.getKey()) {
    int64_t heads = dimsOf(query_)[1], groups = dimsOf(key_)[1];
    bool known = !ShapedType::isDynamic(heads) && !ShapedType::isDynamic(groups);
    single_ = known && heads == groups;
    perGroup_ = known && groups > 0 ? heads / groups : kDynamic;
  }

  Value splitQuery(Value x) {
    if (single_)
      return x;
    Value groups = emit_.dimVector(key_, 1);
    Value perGroup = ShapedType::isDynamic(perGroup_) ? emit_.binary<DivOp>(emit_.dimVector(query_, 1), groups) : emit_.vector(perGroup_);
    return emit_.reshape(x, {emit_.dimVector(x, 0), groups, perGroup, emit_.dimVector(x, 2), emit_.dimVector(x, 3)},
                         {dimsOf(x)[0], dimsOf(key_)[1], perGroup_, dimsOf(x)[2], dimsOf(x)[3]});
  }
  Value spreadKey(Value x) { return single_ ? x : emit_.expandDims(x, 2); }
  Value joined(Value x) {
    if (single_)
      return x;
    return emit_.reshape(x, {emit_.dimVector(x, 0), emit_.dimVector(query_, 1), emit_.dimVector(x, 3), emit_.dimVector(x, 4)},
                         {dimsOf(x)[0], dimsOf(query_)[1], dimsOf(x)[3], dimsOf(x)[4]});
  }

private:
  OpEmitter &emit_;
  Value query_, key_;
  bool single_ = false;
  int64_t perGroup_ = kDynamic;
};

} // namespace

/// Which keys a query sees by its position: [S, T], or nothing if all.
static Value visibleByPosition(OpEmitter &emit, AttentionOp op) {
  int64_t window = int64_t(op.getWindow());
  if (!op.getCausal() && window <= 0)
    return {};
  Value rows = emit.dimScalar(op.getQuery(), 2), columns = emit.dimScalar(op.getKey(), 2);
  Value own = emit.binary<AddOp>(emit.iota(rows, dimsOf(op.getQuery())[2]), emit.binary<SubOp>(columns, rows));
  own = emit.expandDims(own, 1);
  Value key = emit.iota(columns, dimsOf(op.getKey())[2]), visible;
  if (op.getCausal())
    visible = emit.compare(ComparePredicate::le, key, own);
  if (window > 0) {
    Value oldest = emit.binary<SubOp>(own, emit.scalar(emit.builder().getI64Type(), double(window)));
    Value recent = emit.compare(ComparePredicate::gt, key, oldest);
    visible = visible ? emit.binary<AndOp>(visible, recent) : recent;
  }
  return visible;
}

/// Softmax over the last dimension in which a row of nothing but -inf gives zeros.
static Value maskedSoftmax(OpEmitter &emit, Value scores, Type type) {
  int64_t last = rankOf(scores) - 1;
  Value lowest = emit.scalar(type, type.isF64() ? std::numeric_limits<double>::lowest() : double(std::numeric_limits<float>::lowest()));
  // max(-inf, lowest) is finite, so that -inf - max stays -inf instead of turning into NaN.
  Value highest = emit.binary<MaxOp>(emit.reduce(ReduceKind::max, scores, last), lowest);
  Value exponentials = emit.unary<ExpOp>(emit.binary<SubOp>(scores, highest));
  Value sum = emit.reduce(ReduceKind::sum, exponentials, last);
  Value empty = emit.compare(ComparePredicate::eq, sum, emit.scalar(type, 0));
  return emit.binary<DivOp>(exponentials, emit.select(empty, emit.scalar(type, 1), sum));
}

Decomposed AttentionOp::decompose(OpBuilder &builder) {
  OpEmitter emit(builder, getLoc());
  Type type = OpEmitter::computeType(getQuery());
  GroupedHeads heads(emit, *this);
  Value query = heads.splitQuery(emit.cast(getQuery(), type)), key = heads.spreadKey(emit.cast(getKey(), type));
  Value scores = heads.joined(emit.matmul(query, emit.swapLast(key)));
  scores = emit.binary<MulOp>(scores, emit.scalar(type, getScale().convertToFloat()));
  if (!getSoftcap().isZero()) {
    Value cap = emit.scalar(type, getSoftcap().convertToFloat());
    scores = emit.binary<MulOp>(cap, emit.unary<TanhOp>(emit.binary<DivOp>(scores, cap)));
  }
  Value visible = visibleByPosition(emit, *this);
  if (getMask() && elementOf(getMask()).isInteger(1))
    visible = visible ? emit.binary<AndOp>(getMask(), visible) : Value(getMask());
  else if (getMask())
    scores = emit.binary<AddOp>(scores, emit.cast(getMask(), type));
  if (visible)
    scores = emit.select(visible, scores, emit.scalar(type, -std::numeric_limits<double>::infinity()));
  Value weights = heads.splitQuery(maskedSoftmax(emit, scores, type));
  Value sums = emit.matmul(weights, heads.spreadKey(emit.cast(getValue(), type)));
  return emit.finish(heads.joined(sums), getResult());
}
