//===- ContribGroupQuery.cpp - com.microsoft: GroupQueryAttention, RotaryEmbedding ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "AttentionBuilder.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

//===----------------------------------------------------------------------===//
// RotaryEmbedding
//===----------------------------------------------------------------------===//

/// Inputs: input, position_ids ([1]: that of the first token, or [B, S]), cos_cache, sin_cache.
Status importContribRotaryEmbedding(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(4))
    return {};
  Value x = node.input(0), positions = e.cast(node.input(1), e.i64());
  bool headsFirst = e.rank(x) == 4;
  if (node.flag("is_packed_batching"))
    return unsupported(kUnsupported, "is_packed_batching is not supported");
  int64_t rotated = node.integer("rotary_embedding_dim", 0), heads = node.integer("num_heads", 0);
  auto width = e.staticDim(x, e.rank(x) - 1), half = e.staticDim(node.input(2), 1);
  if ((e.rank(x) != 3 && e.rank(x) != 4) || !width || !half)
    return badInput(kNode, "its input is " + describeType(e.analysis, x));
  Value split = x;
  if (!headsFirst) {
    int64_t size = heads > 0 ? *width / heads : 2 * *half;
    if (size < 1 || *width % size != 0)
      return badInput(kNode, describeType(e.analysis, x) + " does not split into heads of " + std::to_string(size));
    split = e.reshape(x, {0, 0, *width / size, size});
  }
  if (e.rank(positions) == 1) // the offset of the whole batch
    positions = e.expandDims(e.add(e.iota(split, headsFirst ? 2 : 1), positions), 0);
  Value scale = e.scalar(e.f32(), node.number("scale", 1));
  Value cos = e.gather(node.input(2), positions, 0), sin = e.gather(node.input(3), positions, 0);
  if (node.number("scale", 1) != 1) {
    cos = e.mul(e.cast(cos, e.f32()), scale);
    sin = e.mul(e.cast(sin, e.f32()), scale);
  }
  Value y = rotate(e, split, cos, sin, rotated, node.flag("interleaved"), headsFirst);
  node.set(0, headsFirst ? y : e.reshape(y, {0, 0, *width}));
  return {};
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

namespace {

/// Inputs: query (or all packed), key?, value?, past_key?, past_value?, seqlens_k, total_sequence_length, cos_cache?,
/// sin_cache?, position_ids?, attention_bias?, head_sink?, k_scale?, v_scale?, q_norm_weight?, k_norm_weight?.
class GroupQuery {
public:
  explicit GroupQuery(Node &node) : node_(node), e_(node.emit) {}

  Status run() {
    heads_ = node_.requiredInteger("num_heads", 1, 1 << 20);
    kvHeads_ = node_.requiredInteger("kv_num_heads", 1, 1 << 20);
    if (!node_.requireInputs(1) || !node_.input(5) || !node_.input(6))
      return badInput(kNode, "seqlens_k or total_sequence_length is missing");
    for (llvm::StringRef quantized : {"k_quant_type", "v_quant_type"})
      if (node_.text(quantized, "NONE") != "NONE")
        return unsupported(kUnsupported, "a quantized cache is not supported");
    if (node_.input(12) || node_.input(13) || node_.input(14) || node_.input(15) || node_.flag("sliding_window_cache") ||
        node_.integer("qk_output", 0) != 0)
      return unsupported(kUnsupported, "cache scales, query and key norms, a sliding cache and qk_output are not supported");
    if (!readHeads())
      return {};
    readPositions();
    if (node_.flag("do_rotary"))
      rotateHeads();
    present_[0] = append(node_.input(3), key_);
    present_[1] = append(node_.input(4), value_);
    if (e_.failed())
      return {};
    attendAll();
    node_.set(1, present_[0]);
    node_.set(2, present_[1]);
    return {};
  }

private:
  bool readHeads() {
    Value query = node_.input(0), key = node_.input(1), value = node_.input(2);
    auto width = e_.staticDim(query, 2);
    if (e_.rank(query) != 3 || !width || !key != !value || !node_.input(3) != !node_.input(4)) {
      e_.invalid("queries are " + describeType(e_.analysis, query) + "; keys or values are missing");
      return false;
    }
    if (!key) { // packed side by side
      int64_t size = *width / (heads_ + 2 * kvHeads_), q = heads_ * size, k = kvHeads_ * size;
      value = e_.slice(query, 2, q + k, q + 2 * k);
      key = e_.slice(query, 2, q, q + k);
      query = e_.slice(query, 2, 0, q);
    }
    query_ = splitHeads(e_, query, heads_);
    key_ = splitHeads(e_, key, kvHeads_);
    value_ = splitHeads(e_, value, kvHeads_);
    return !e_.failed() && query_;
  }

  /// Position of each row's first new token: seqlens_k is the row's total length minus one. A padded prompt is longer than
  /// its length; it begins at 0.
  void readPositions() {
    Value total = e_.add(e_.cast(node_.input(5), e_.i64()), 1);
    if (e_.rank(total) == 2) // [B, 1] occurs
      total = e_.squeeze(total, 1);
    Value before = e_.max(e_.sub(total, e_.dim(query_, 2)), e_.integer(0));
    first_ = e_.expandDims(before, {1, 2, 3}); // [B, 1, 1, 1]
  }

  /// In a first prompt ONNX Runtime takes the very first number alone and counts on from it, in every row.
  Value givenPositions(Value positions) {
    if (e_.rank(positions) != 2) {
      e_.invalid("position_ids are " + describeType(e_.analysis, positions));
      return {};
    }
    Value first = e_.reshape(e_.slice(e_.slice(positions, 0, 0, 1), 1, 0, 1), {1});
    Value counted = e_.add(e_.expandDims(e_.iota(query_, 2), 0), first);
    Value total = e_.cast(e_.toScalar(node_.input(6)), e_.i64());
    return e_.select(e_.compare(P::eq, e_.dim(query_, 2), total), counted, positions);
  }

  void rotateHeads() {
    Value cos = node_.input(7), sin = node_.input(8), positions = node_.input(9);
    if (!cos || !sin) {
      e_.invalid("cos_cache or sin_cache is missing");
      return;
    }
    if (positions)
      positions = givenPositions(e_.cast(positions, e_.i64()));
    else
      positions = e_.add(e_.iota(query_, 2), e_.squeeze(first_, {2, 3})); // [B, S]
    cos = e_.gather(cos, positions, 0), sin = e_.gather(sin, positions, 0);
    auto half = e_.staticDim(cos, 2);
    bool interleaved = node_.flag("rotary_interleaved");
    query_ = rotate(e_, query_, cos, sin, half ? 2 * *half : 0, interleaved, true);
    key_ = rotate(e_, key_, cos, sin, half ? 2 * *half : 0, interleaved, true);
  }

  /// The cache with the new rows written behind each sequence. It is as long as the larger of what came in (which may be a
  /// buffer for the longest sequence) and the total length.
  Value append(Value past, Value added) {
    if (!past)
      return added;
    if (e_.rank(past) != 4) {
      e_.invalid("the cache is " + describeType(e_.analysis, past));
      return {};
    }
    if (auto size = e_.staticDim(added, 3); size && !e_.staticDim(past, 3)) { // GenAI's model builder leaves it open
      e_.unsupported("the last dimension of the cache " + describeType(e_.analysis, past) + " is open, but heads have " + std::to_string(*size) +
                     " features: fix it with --dim NAME=" + std::to_string(*size));
      return {};
    }
    Value total = e_.cast(e_.toScalar(node_.input(6)), e_.i64()), have = e_.dim(past, 2);
    Value missing = e_.toVector(e_.sub(e_.max(have, total), have));
    Value pads = e_.concat({e_.vector({0, 0, 0, 0, 0, 0}), missing, e_.vector(0)}, 0);
    auto mode = e_.attr("mode", Attribute(llm::PadModeAttr::get(e_.builder.getContext(), llm::PadMode::constant)));
    Value buffer = e_.op("llm.pad", {past, pads, e_.scalar(e_.elementType(past), 0)}, mode);
    Value places = e_.add(e_.expandDims(e_.iota(added, 2), 1), first_); // [B, 1, S, 1]
    places = e_.broadcast(places, e_.shapeOf(added));
    auto replace = e_.attr("reduction", Attribute(llm::ScatterReductionAttr::get(e_.builder.getContext(), llm::ScatterReduction::none)));
    return e_.op("llm.scatter_elements", {buffer, places, added}, {replace, e_.attr("axis", int64_t(2))});
  }

  void attendAll() {
    AttentionSpec spec;
    spec.query = query_, spec.key = present_[0], spec.value = present_[1];
    spec.scale = node_.number("scale", 0);
    spec.softcap = node_.number("softcap", 0);
    spec.causal = node_.flag("causal", true);
    spec.first = first_;
    int64_t window = node_.integer("local_window_size", -1);
    if (window > 0) // the query's own key counts
      spec.left = window - 1;
    if (!spec.causal) // what lies behind a sequence in the buffer is nothing
      spec.masks.push_back(e_.compare(P::lt, e_.iota(spec.key, 2), e_.add(first_, e_.dim(query_, 2))));
    if (node_.input(10))
      spec.masks.push_back(e_.cast(node_.input(10), e_.f32()));
    spec.sinks = node_.input(11);
    if (!spec.sinks && node_.flag("smooth_softmax"))
      spec.sinks = e_.constant(DenseElementsAttr::get(RankedTensorType::get(heads_, e_.f32()), 0.0f));
    node_.set(0, mergeHeads(e_, attend(e_, spec)));
  }

  Node &node_;
  Emitter &e_;
  int64_t heads_ = 1, kvHeads_ = 1;
  Value query_, key_, value_, first_, present_[2];
};

} // namespace

Status importGroupQueryAttention(Node &node) { return GroupQuery(node).run(); }

} // namespace llmopt::onnx
