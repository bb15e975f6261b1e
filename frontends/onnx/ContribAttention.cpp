//===- ContribAttention.cpp - com.microsoft: Attention and MultiHeadAttention -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"
#include "Quantization.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

/// 0 where `allowed`, the operator's filter value elsewhere: ONNX Runtime adds a finite number, so a row in which every
/// key is hidden still attends to all of them alike.
static Value filterMask(Node &node, Value allowed) {
  Emitter &e = node.emit;
  return e.select(allowed, e.scalar(e.f32(), 0), e.scalar(e.f32(), node.number("mask_filter_value", -10000)));
}

/// The mask in one of its forms as something that broadcasts to [B, H, S, T]. Null with a problem noted, or if there is none.
static Value readMask(Node &node, Value mask, Value query, Value key) {
  Emitter &e = node.emit;
  if (!mask)
    return {};
  Value keys = e.iota(key, 2), number = e.cast(mask, e.i64());
  switch (e.rank(mask)) {
  case 1: {
    // [B]: keys before it count. [2 B]: the same, and then where they begin. Where no numbers tell the two apart it is [B],
    // and the run time refuses sizes that do not fit.
    auto count = e.staticDim(mask, 0), batch = e.staticDim(query, 0);
    if (!count || !batch || *count == *batch)
      return filterMask(node, e.compare(P::lt, keys, e.expandDims(number, {1, 2, 3})));
    if (*count == 2 * *batch) {
      Value ends = e.slice(number, 0, 0, *batch), begins = e.slice(number, 0, *batch, *count);
      Value inside = e.binary("llm.and", e.compare(P::lt, keys, e.expandDims(ends, {1, 2, 3})),
                              e.compare(P::ge, keys, e.expandDims(begins, {1, 2, 3})));
      return filterMask(node, inside);
    }
    break;
  }
  case 2:
    return filterMask(node, e.expandDims(e.compare(P::gt, number, 0.0), {1, 2}));
  case 3:
    return filterMask(node, e.expandDims(e.compare(P::gt, number, 0.0), 1));
  case 4: {
    // [B, 1, longest, longest]: rows of the queries, columns of the keys.
    Value total = e.dimVector(key, 2), rows = e.sub(total, e.dimVector(query, 2));
    Value part = e.slice(number, e.concat({rows, e.vector(0)}, 0), e.concat({total, total}, 0), {2, 3}, {1, 1});
    return filterMask(node, e.compare(P::gt, part, 0.0));
  }
  default:
    break;
  }
  e.unsupported("a mask " + describeType(e.analysis, mask) + " is not supported");
  return {};
}

/// What Attention and MultiHeadAttention end with: a mask, a bias of the scores, causal order, scale.
static Value attendMasked(Node &node, AttentionSpec &spec, Value mask, Value attentionBias) {
  Emitter &e = node.emit;
  if (Value read = readMask(node, mask, spec.query, spec.key))
    spec.masks.push_back(read);
  if (attentionBias)
    spec.masks.push_back(e.cast(attentionBias, e.f32()));
  spec.causal = node.flag("unidirectional");
  spec.scale = node.number("scale", 0);
  return mergeHeads(e, attend(e, spec));
}

//===----------------------------------------------------------------------===//
// Attention: one weight for queries, keys and values
//===----------------------------------------------------------------------===//

/// Attention over queries, keys and values that lie side by side in [B, S, columns]; `past` [2, B, heads, past, size].
static Status attendJoined(Node &node, Value joined, Value mask, Value past, Value attentionBias) {
  Emitter &e = node.emit;
  int64_t heads = node.requiredInteger("num_heads", 1, 1 << 20);
  if (node.flag("do_rotary") || node.flag("past_present_share_buffer"))
    return unsupported(kUnsupported, "do_rotary and a shared cache buffer are not supported");
  auto all = e.staticDim(joined, 2);
  if (e.failed() || !all)
    return e.failed() ? Status() : unsupported(kUnsupported, "the weight's columns are not known when compiling");
  auto sizes = node.integers("qkv_hidden_sizes").value_or(llvm::SmallVector<int64_t>{});
  if (sizes.empty())
    sizes = {*all / 3, *all / 3, *all / 3};
  if (sizes.size() != 3 || sizes[0] < 1 || sizes[0] != sizes[1] || sizes[2] < 1 || sizes[0] + sizes[1] + sizes[2] != *all)
    return badInput(kNode, "the weight's " + std::to_string(*all) + " columns do not split into queries, keys and values");
  AttentionSpec spec;
  spec.query = splitHeads(e, e.slice(joined, 2, 0, sizes[0]), heads);
  spec.key = splitHeads(e, e.slice(joined, 2, sizes[0], 2 * sizes[0]), heads);
  spec.value = splitHeads(e, e.slice(joined, 2, 2 * sizes[0], *all), heads);
  if (e.failed())
    return {};
  spec.firstIsRest = true;
  if (past) {
    if (e.rank(past) != 5)
      return badInput(kNode, "past is " + describeType(e.analysis, past) + ", not [2, B, heads, past, size]");
    auto half = [&](int64_t i) { return e.squeeze(e.slice(past, 0, i, i + 1), 0); };
    spec.key = e.concat({half(0), spec.key}, 2);
    spec.value = e.concat({half(1), spec.value}, 2);
  }
  node.set(0, attendMasked(node, spec, mask, attentionBias));
  if (node.wants(1))
    node.set(1, e.concat({e.expandDims(spec.key, 0), e.expandDims(spec.value, 0)}, 0));
  return {};
}

static Status checkOperands(Emitter &e, Value x, Value weight) {
  if (e.rank(x) == 3 && e.rank(weight) == 2)
    return {};
  return badInput(kNode, "input and weight are " + describeType(e.analysis, x) + " and " + describeType(e.analysis, weight));
}

/// Inputs: input, weights, bias?, mask?, past?, attention_bias?, past_sequence_length?.
Status importContribAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  if (node.input(6))
    return unsupported(kUnsupported, "a shared cache buffer is not supported");
  LLMOPT_RETURN_IF_ERROR(checkOperands(e, node.input(0), node.input(1)));
  Value joined = e.matmul(node.input(0), node.input(1)), bias = node.input(2);
  return attendJoined(node, bias ? e.add(joined, bias) : joined, node.input(3), node.input(4), node.input(5));
}

/// The same with quantized input and weight. Inputs: input, weight, bias, input_scale, weight_scale, mask?, input_zero_point?,
/// weight_zero_point?, past?.
Status importQAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(5))
    return {};
  LLMOPT_RETURN_IF_ERROR(checkOperands(e, node.input(0), node.input(1)));
  Value sum = integerMatMul(e, node.input(0), node.input(1), node.input(6) ? e.toScalar(node.input(6)) : Value(), node.input(7));
  Value scale = e.mul(e.toScalar(node.input(3)), node.input(4));
  Value joined = e.add(e.mul(e.cast(sum, e.elementType(scale)), scale), node.input(2));
  return attendJoined(node, joined, node.input(5), node.input(8), {});
}

//===----------------------------------------------------------------------===//
// MultiHeadAttention: queries, keys and values come projected
//===----------------------------------------------------------------------===//

namespace {

/// Queries, keys and values [B, heads, tokens, size] from the operator's four layouts.
void readHeads(Node &node, AttentionSpec &spec, int64_t heads) {
  Emitter &e = node.emit;
  Value query = node.input(0), key = node.input(1), value = node.input(2), bias = node.input(3);
  auto part = [&](Value packed, int64_t i) { // [B, S, heads, parts, size] -> [B, heads, S, size]
    return e.transpose(e.squeeze(e.slice(packed, 3, i, i + 1), 3), {0, 2, 1, 3});
  };
  auto biasPart = [&](Value x, int64_t begin, int64_t size) { return bias ? e.add(x, e.slice(bias, 0, begin, begin + size)) : x; };
  if (e.rank(query) == 5 && !key && !bias) {
    spec.query = part(query, 0), spec.key = part(query, 1), spec.value = part(query, 2);
    return;
  }
  auto width = e.staticDim(query, 2);
  if (e.rank(query) != 3 || !width || !key) {
    e.invalid("queries are " + describeType(e.analysis, query) + ", keys " + describeType(e.analysis, key));
    return;
  }
  spec.query = splitHeads(e, biasPart(query, 0, *width), heads);
  if (e.rank(key) == 5 && !value && !bias) {
    spec.key = part(key, 0), spec.value = part(key, 1);
  } else if (e.rank(key) == 4 && value && e.rank(value) == 4) { // a cross-attention cache, used as it is
    spec.key = key, spec.value = value;
  } else if (e.rank(key) == 3 && value && e.rank(value) == 3 && e.staticDim(value, 2)) {
    spec.key = splitHeads(e, biasPart(key, *width, *width), heads);
    spec.value = splitHeads(e, biasPart(value, 2 * *width, *e.staticDim(value, 2)), heads);
  } else {
    e.unsupported("keys " + describeType(e.analysis, key) + " and values " + describeType(e.analysis, value) + " are not supported");
  }
}

} // namespace

/// Inputs: query, key?, value?, bias?, key_padding_mask?, attention_bias?, past_key?, past_value?, past_sequence_length?.
Status importMultiHeadAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  int64_t heads = node.requiredInteger("num_heads", 1, 1 << 20);
  if (node.input(8) || node.input(9))
    return unsupported(kUnsupported, "a shared cache buffer and cache indirection are not supported");
  AttentionSpec spec;
  readHeads(node, spec, heads);
  Value pastKey = node.input(6), pastValue = node.input(7);
  if (!pastKey != !pastValue)
    return badInput(kNode, "past_key and past_value do not go together");
  if (pastKey) {
    spec.key = e.concat({pastKey, spec.key}, 2);
    spec.value = e.concat({pastValue, spec.value}, 2);
  }
  if (e.failed() || !spec.query)
    return {};
  spec.firstIsRest = true;
  node.set(0, attendMasked(node, spec, node.input(4), node.input(5)));
  node.set(1, spec.key);
  node.set(2, spec.value);
  if (node.wants(3))
    node.set(3, attentionScores(e, spec, ScoreStage::Masked));
  return {};
}

} // namespace llmopt::onnx
