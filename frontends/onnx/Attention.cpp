//===- Attention.cpp - Attention and RotaryEmbedding of the standard ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

/// A mask whose last dimension is shorter than the keys hides the rest.
static Value padMask(Emitter &e, Value mask, Value key) {
  auto have = e.rank(mask) ? e.staticDim(mask, e.rank(mask) - 1) : std::nullopt, want = e.staticDim(key, 2);
  if (!mask || !have || !want || *have >= *want || *have == 1)
    return mask;
  llvm::SmallVector<int64_t> pads(2 * size_t(e.rank(mask)), 0);
  pads.back() = *want - *have;
  Value closed = e.isBool(mask) ? e.scalar(e.elementType(mask), 0)
                                : e.scalar(e.elementType(mask), -std::numeric_limits<double>::infinity());
  auto mode = e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), llm::PadMode::constant)));
  return e.op("llm.pad", {mask, e.vector(pads), closed}, mode);
}

/// Attributes and masks of the node in the form all attention operators share.
static AttentionSpec readSpec(Node &node, Value pastKey) {
  Emitter &e = node.emit;
  AttentionSpec spec;
  spec.causal = node.flag("is_causal");
  spec.scale = node.number("scale", 0);
  spec.softcap = node.number("softcap", 0);
  spec.left = node.integer("left_window_size", -1);
  spec.right = node.integer("right_window_size", -1);
  if (spec.left < -1 || spec.right < -1)
    e.invalid("a window size is less than -1");
  if (pastKey)
    spec.first = e.dim(pastKey, 2);
  return spec;
}

Status importAttention(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value q = node.input(0), k = node.input(1), v = node.input(2), pastKey = node.input(4), pastValue = node.input(5);
  Value lengths = node.input(6);
  bool flat = e.rank(q) == 3;
  if (flat) {
    int64_t heads = node.requiredInteger("q_num_heads", 1, 1 << 20), kvHeads = node.requiredInteger("kv_num_heads", 1, 1 << 20);
    q = splitHeads(e, q, heads), k = splitHeads(e, k, kvHeads), v = splitHeads(e, v, kvHeads);
  }
  if (!pastKey != !pastValue || (pastKey && lengths))
    return badInput(kNode, "past_key, past_value and nonpad_kv_seqlen do not go together");
  if (e.failed() || e.rank(q) != 4 || e.rank(k) != 4 || e.rank(v) != 4)
    return e.failed() ? Status() : badInput(kNode, "queries, keys and values have different ranks");
  AttentionSpec spec = readSpec(node, pastKey);
  spec.query = q, spec.key = k, spec.value = v;
  if (pastKey) {
    // Queries are as long as the new keys, as a rule: then causality is that of llm.attention.
    spec.firstIsRest = e.sameDim(q, 2, k, 2);
    spec.key = e.concat({pastKey, k}, 2);
    spec.value = e.concat({pastValue, v}, 2);
  }
  if (node.input(3))
    spec.masks.push_back(padMask(e, node.input(3), spec.key));
  if (lengths) { // keys of batch row b from lengths[b] on are padding
    Value perRow = e.expandDims(e.cast(lengths, e.i64()), {1, 2, 3});
    spec.masks.push_back(e.compare(P::lt, e.iota(spec.key, 2), perRow));
    spec.first = e.sub(perRow, e.dim(q, 2));
  }
  Value y = attend(e, spec);
  node.set(0, flat ? mergeHeads(e, y) : y);
  node.set(1, spec.key);
  node.set(2, spec.value);
  if (node.wants(3)) {
    static constexpr ScoreStage stages[] = {ScoreStage::Product, ScoreStage::Capped, ScoreStage::Masked, ScoreStage::Softmax};
    int64_t mode = node.has("qk_matmul_output_mode") ? node.requiredInteger("qk_matmul_output_mode", 0, 3) : 0;
    node.set(3, attentionScores(e, spec, stages[mode]));
  }
  return {};
}

Status importRotaryEmbedding(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value x = node.input(0), cos = node.input(1), sin = node.input(2), positions = node.input(3);
  if (positions) {
    cos = e.gather(cos, positions, 0);
    sin = e.gather(sin, positions, 0);
  }
  bool interleaved = node.flag("interleaved");
  int64_t rotated = node.integer("rotary_embedding_dim", 0);
  if (e.rank(x) == 4) {
    node.set(0, rotate(e, x, cos, sin, rotated, interleaved, /*headsFirst=*/true));
    return {};
  }
  int64_t heads = node.requiredInteger("num_heads", 1, 1 << 20);
  auto width = e.staticDim(x, 2);
  if (e.rank(x) != 3 || !width || *width % heads != 0)
    return badInput(kNode, "its input is " + describeType(e.analysis, x) + " for " + std::to_string(heads) + " heads");
  Value split = e.reshape(x, {0, 0, heads, *width / heads});
  node.set(0, e.reshape(rotate(e, split, cos, sin, rotated, interleaved, /*headsFirst=*/false), {0, 0, *width}));
  return {};
}

} // namespace llmopt::onnx
