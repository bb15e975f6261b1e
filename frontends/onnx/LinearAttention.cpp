//===- LinearAttention.cpp - recurrent attention and its convolution ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After Yang et al., "Gated Delta Networks", arXiv:2412.06464, and Katharopoulos et al., arXiv:2006.16236.
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"
#include "Window.h"

#include <cmath>

using namespace mlir;

namespace llmopt::onnx {

/// Steps that are written out one by one.
static constexpr int64_t kMaxSteps = 1024;

namespace {

/// The state S [B, H, K, V] and its update by the token at hand.
struct Recurrence {
  Emitter &e;
  bool gated = false, delta = false;
  Value state;

  /// key [B, H, K, 1], value [B, H, 1, V], decay (null: none) and rate that broadcast to the state.
  void step(Value key, Value value, Value decay, Value rate) {
    if (gated)
      state = e.mul(state, e.unary("llm.exp", decay));
    if (delta)
      value = e.mul(e.sub(value, read(key)), rate);
    state = e.add(state, e.mul(key, value));
  }
  /// S^T x for x [B, .., K, 1]: [B, .., 1, V].
  Value read(Value x) { return e.reduce(llm::ReduceKind::sum, e.mul(x, state), e.rank(state) - 2); }
};

} // namespace

Status importLinearAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value query = node.input(0), decay = node.input(4), beta = node.input(5);
  int64_t heads = node.requiredInteger("q_num_heads", 1, 1 << 20), kvHeads = node.requiredInteger("kv_num_heads", 1, 1 << 20);
  std::string rule = node.text("update_rule", "gated_delta");
  bool gated = rule == "gated" || rule == "gated_delta", delta = rule == "delta" || rule == "gated_delta";
  if (!gated && !delta && rule != "linear")
    return badInput(kNode, "attribute 'update_rule' is '" + rule + "'");
  if ((gated && !decay) || (delta && !beta))
    return badInput(kNode, "update_rule '" + rule + "' needs the input '" + (gated && !decay ? "decay" : "beta") + "'");
  if (heads % kvHeads != 0)
    return badInput(kNode, std::to_string(heads) + " query heads do not share " + std::to_string(kvHeads) + " key heads");
  auto steps = e.staticDim(query, 1);
  if (!steps || *steps < 1 || *steps > kMaxSteps)
    return unsupported(kUnsupported, "its query is " + describeType(e.analysis, query) + "; llmopt supports 1 to " +
                                         std::to_string(kMaxSteps) + " tokens, known when compiling (--dim)");
  auto split = [&](Value x, int64_t n) { return e.widen(splitHeads(e, x, n)); };
  Value q = split(query, heads), k = split(node.input(1), kvHeads), v = split(node.input(2), kvHeads);
  auto size = e.staticDim(k, 3);
  if (e.failed() || !size || *size < 1 || e.staticDim(q, 3) != size)
    return e.failed() ? Status() : badInput(kNode, "queries and keys have different sizes");
  Type real = e.elementType(q);
  Recurrence recurrence{e, gated, delta, {}};
  if (Value past = node.input(3))
    recurrence.state = e.cast(past, real);
  else
    recurrence.state = e.broadcast(e.scalar(real, 0), e.shapeVector({{k, 0}, kvHeads, *size, {v, 3}}));
  if (gated) // [B, H, T, K or 1]
    decay = split(decay, kvHeads);
  if (delta) { // [B, H or 1, T, 1]
    auto width = e.staticDim(beta, 2);
    if (!width || (*width != 1 && *width != kvHeads))
      return badInput(kNode, "beta is " + describeType(e.analysis, beta));
    beta = split(beta, *width);
  }
  double scale = node.number("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(double(*size));
  llvm::SmallVector<Value> outputs;
  for (int64_t t = 0; t < *steps && !e.failed(); ++t) {
    auto at = [&](Value x) { return e.slice(x, 2, t, t + 1); };
    auto column = [&](Value x) { return e.transpose(at(x), {0, 1, 3, 2}); };
    recurrence.step(column(k), at(v), gated ? column(decay) : Value(), delta ? at(beta) : Value());
    // Query heads that share a state stand in a dimension of their own.
    Value grouped = e.reshapeDims(column(q), {{q, 0}, kvHeads, heads / kvHeads, *size, 1});
    Recurrence shared{e, false, false, e.expandDims(recurrence.state, 2)};
    outputs.push_back(e.reshapeDims(e.mul(shared.read(grouped), scale), {{q, 0}, heads, 1, {v, 3}}));
  }
  if (e.failed())
    return {};
  Value y = outputs.size() == 1 ? outputs[0] : e.concat(outputs, 2);
  node.set(0, mergeHeads(e, e.cast(y, e.elementType(query))));
  node.set(1, e.cast(recurrence.state, e.elementType(node.input(3) ? node.input(3) : query)));
  return {};
}

/// A convolution of each channel with its own kernel, which sees the last `kernel` - 1 inputs of the step before.
Status importCausalConvWithState(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), weight = node.input(1), bias = node.input(2), past = node.input(3);
  std::string activation = node.text("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    return badInput(kNode, "attribute 'activation' is '" + activation + "'");
  auto channels = e.staticDim(x, 1), kernel = e.rank(weight) == 3 ? e.staticDim(weight, 2) : std::nullopt;
  if (e.rank(x) != 3 || !channels || !kernel || *kernel < 1 || e.staticDim(weight, 0) != channels || e.staticDim(weight, 1) != 1)
    return badInput(kNode, "input " + describeType(e.analysis, x) + " and weight " + describeType(e.analysis, weight) +
                               " do not go together");
  Type type = e.elementType(x);
  Value all = e.widen(x), real = all;
  Type wide = e.elementType(real);
  if (*kernel > 1) {
    Value before = past ? e.cast(past, wide) : e.broadcast(e.scalar(wide, 0), e.shapeVector({{x, 0}, *channels, *kernel - 1}));
    all = e.concat({before, real}, 2);
  }
  Window window{{*kernel}, {1}, {1}, {0, 0}};
  Value y = convolve(e, all, e.cast(weight, wide), bias ? e.cast(bias, wide) : Value(), window, *channels);
  if (activation != "none")
    y = e.unary("llm.silu", y);
  node.set(0, e.cast(y, type));
  if (node.wants(1)) // without past tokens, nothing
    node.set(1, e.cast(*kernel > 1 ? e.slice(all, 2, 1 - *kernel, INT64_MAX) : e.slice(all, 2, 0, 0), type));
  return {};
}

} // namespace llmopt::onnx
