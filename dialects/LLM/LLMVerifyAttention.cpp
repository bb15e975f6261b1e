//===- LLMVerifyAttention.cpp - verifiers of rope, attention, the cache ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

using namespace mlir;
using namespace llmopt::llm;

LogicalResult RopeOp::verify() {
  ArrayRef<int64_t> input = dimsOf(getInput());
  // rope_c1: [tokens, heads, D].
  if (input.size() != 3)
    return emitOpError("needs an input [tokens, heads, D], not ") << printDims(input);
  // rope_c2: one position per token.
  if (!agree(dimsOf(getPositions())[0], input[0]))
    return emitOpError("has ") << dimsOf(getPositions())[0] << " positions for " << input[0] << " tokens";
  // rope_c3: two features per frequency.
  int64_t pairs = dimsOf(getFrequencies())[0];
  if (!ShapedType::isDynamic(pairs) && !ShapedType::isDynamic(input[2]) && 2 * pairs > input[2])
    return emitOpError("has ") << pairs << " frequencies for heads of " << input[2] << " features";
  // rope_c4: shape and element type stay.
  if (failed(expectShape(*this, getResult(), input)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

/// Whether `heads` queries share `groups` key-value heads evenly, as far as both are known.
static bool divides(int64_t groups, int64_t heads) {
  return ShapedType::isDynamic(groups) || (groups > 0 && (ShapedType::isDynamic(heads) || heads % groups == 0));
}

LogicalResult AttentionOp::verify() {
  ArrayRef<int64_t> query = dimsOf(getQuery()), key = dimsOf(getKey()), value = dimsOf(getValue());
  // attention_c1: [batch, heads, rows, width] each.
  if (query.size() != 4 || key.size() != 4 || value.size() != 4)
    return emitOpError("needs query, key and value of four dimensions");
  // attention_c2: one batch, as many keys as values, as wide as the queries.
  if (!agree(query[0], key[0]) || !agree(key.take_front(3), value.take_front(3)) || !agree(query[3], key[3]))
    return emitOpError("has query ") << printDims(query) << ", key " << printDims(key) << ", value " << printDims(value);
  // attention_c3: the key-value heads divide the query heads.
  if (!divides(key[1], query[1]))
    return emitOpError("has ") << query[1] << " query heads for " << key[1] << " key-value heads";
  // attention_c4: the mask is i1 or float and broadcasts to the scores.
  StaticDims scores{query[0], query[1], query[2], key[2]};
  if (getMask()) {
    std::optional<StaticDims> both = broadcastDims(scores, dimsOf(getMask()));
    if (!both || !agree(*both, scores) || (elementOf(getMask()).isInteger() && !elementOf(getMask()).isInteger(1)))
      return emitOpError("has a mask ") << getMask().getType() << " for scores " << printDims(scores);
  }
  // attention_c5: the window is not negative.
  if (int64_t(getWindow()) < 0)
    return emitOpError("has a negative window");
  // attention_c6: one row of values per query.
  if (failed(expectShape(*this, getResult(), {query[0], query[1], query[2], value[3]})))
    return failure();
  return expectSameElements(*this, getQuery(), getResult());
}

LogicalResult CacheAppendOp::verify() {
  ArrayRef<int64_t> key = dimsOf(getKey()), value = dimsOf(getValue());
  // cache_append_c1: [tokens, heads, width], tokens and heads alike.
  if (key.size() != 3 || value.size() != 3 || !agree(key.take_front(2), value.take_front(2)))
    return emitOpError("has keys ") << printDims(key) << " and values " << printDims(value);
  // cache_append_c2: states are numbered from 0.
  if (int64_t(getState()) < 0)
    return emitOpError("names state ") << int64_t(getState());
  return success();
}

LogicalResult PagedAttentionOp::verify() {
  ArrayRef<int64_t> query = dimsOf(getQuery());
  // paged_attention_c1: queries [tokens, heads, width].
  if (query.size() != 3)
    return emitOpError("needs queries [tokens, heads, D], not ") << printDims(query);
  // paged_attention_c2: the key-value heads divide the query heads.
  int64_t groups = int64_t(getKvHeads());
  if (groups < 1 || !divides(groups, query[1]))
    return emitOpError("has ") << query[1] << " query heads for " << groups << " key-value heads";
  // paged_attention_c3: one slope and one sink per head.
  for (Value vector : {getSlopes(), getSinks()})
    if (vector && !agree(dimsOf(vector), query.slice(1, 1)))
      return emitOpError("has slopes or sinks ") << printDims(dimsOf(vector)) << " for " << query[1] << " heads";
  // paged_attention_c4: the bias is [heads, 2 L - 1].
  if (Value bias = getBias()) {
    ArrayRef<int64_t> dims = dimsOf(bias);
    if (dims.size() != 2 || !agree(dims[0], query[1]) || (!ShapedType::isDynamic(dims[1]) && dims[1] % 2 != 1))
      return emitOpError("has a bias ") << printDims(dims) << " for " << query[1] << " heads; an odd number of distances is needed";
  }
  // paged_attention_c5: window and state are not negative.
  if (int64_t(getWindow()) < 0 || int64_t(getState()) < 0)
    return emitOpError("has a negative window or state");
  // paged_attention_c6: one row of values per query.
  if (failed(expectShape(*this, getResult(), {query[0], query[1], ShapedType::kDynamic})))
    return failure();
  return expectSameElements(*this, getQuery(), getResult());
}
