//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Blocks.h"
#include "PositionBias.h"
#include "Rope.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::hf;
using mlir::Value;

namespace {

/// Queries [tokens, heads, D], keys [tokens, kvHeads, D], values [tokens, kvHeads, E].
struct Projections {
  Value query, key, value;
};

class AttentionBuilder {
public:
  AttentionBuilder(BlockContext &context, const std::string &blockName, const AttentionSpec &spec)
      : context_(context), graph_(context.graph), config_(context.config), spec_(spec), blockName_(blockName) {}

  Result<Value> build(Value input);
  Status store(Value input);

private:
  Status readSizes();
  Result<Value> project(Value input, const std::string &name, int64_t heads, int64_t dim, bool bias,
                        const std::optional<HeadNormSpec> &norm, bool rotates);
  Result<Projections> projections(Value input);
  Result<Projections> fusedProjections(Value input);
  Result<Value> shaped(Value flat, int64_t heads, int64_t dim, const std::optional<HeadNormSpec> &norm, bool rotates);
  Result<Value> headNorm(Value input, const HeadNormSpec &norm, int64_t heads);
  Value rotate(Value input);
  Result<Value> attend(Value query);
  Result<Value> slopes();
  Result<Value> distanceBias();
  llm::SequenceGroupAttr group() const {
    auto which = spec_.cross || context_.isEncoder ? llm::SequenceGroup::encoder : llm::SequenceGroup::self;
    return llm::SequenceGroupAttr::get(graph_.builder().getContext(), which);
  }
  /// Nobody reads what an encoder's tokens keep for each other once their layer is done: all layers of a shape have one place for it, which stays
  /// in the caches.
  int64_t state() {
    bool passes = context_.isEncoder && !spec_.cross;
    return passes ? context_.passingState({kvHeads_, dim_, valueDim_}) : context_.state(blockName_);
  }
  /// "model.layers.3.self_attn", for operations that no tensor gives a name.
  void atBlock() {
    std::string name = context_.expand(spec_.output);
    graph_.at(name.substr(0, name.rfind('.')));
  }

  BlockContext &context_;
  GraphBuilder &graph_;
  ConfigScope &config_;
  const AttentionSpec &spec_;
  const std::string &blockName_;
  int64_t heads_ = 0, kvHeads_ = 0, dim_ = 0, valueDim_ = 0;
  bool bias_ = false, keyBias_ = false;
};

Status AttentionBuilder::readSizes() {
  LLMOPT_ASSIGN(heads_, config_.integer(spec_.heads, 1, kMaxHeads));
  LLMOPT_ASSIGN(kvHeads_, config_.integer(spec_.kvHeads, 1, kMaxHeads));
  LLMOPT_ASSIGN(dim_, config_.integer(spec_.headDim, 1, kMaxWidth));
  LLMOPT_ASSIGN(valueDim_, config_.integer(spec_.valueDim, 1, kMaxWidth, dim_));
  LLMOPT_ASSIGN(bias_, config_.boolean(spec_.bias, false));
  LLMOPT_ASSIGN(keyBias_, config_.boolean(spec_.keyBias, bias_));
  if (heads_ % kvHeads_)
    return badInput("E0412", std::to_string(heads_) + " attention heads cannot share " + std::to_string(kvHeads_) + " key-value heads evenly");
  if (heads_ * std::max(dim_, valueDim_) > kMaxWidth)
    return limitExceeded("E0412", "attention is wider than " + std::to_string(kMaxWidth));
  return {};
}

Result<Value> AttentionBuilder::headNorm(Value input, const HeadNormSpec &norm, int64_t heads) {
  Result<Value> result = buildNorm(context_, norm.norm, input, norm.name, norm.perHead ? heads : 0);
  atBlock();
  return result;
}

Value AttentionBuilder::rotate(Value input) {
  Result<std::optional<Rope>> resolved = resolveRope(*spec_.rope, config_, dim_, context_.wantedPositions);
  context_.problems.absorb(resolved.status());
  if (!resolved || !*resolved)
    return input;
  const std::optional<Rope> &rope = *resolved;
  if (rope->validPositions > 0 && (context_.validPositions == 0 || rope->validPositions < context_.validPositions))
    context_.validPositions = rope->validPositions;
  return graph_.create<llm::RopeOp>(input.getType(), input, context_.positions, graph_.floats(rope->frequencies),
                                    graph_.flag(rope->interleaved), graph_.f32(rope->scale));
}

/// From [tokens, heads * dim] (or already [tokens, heads, dim]) to heads, normalized and rotated.
Result<Value> AttentionBuilder::shaped(Value flat, int64_t heads, int64_t dim, const std::optional<HeadNormSpec> &norm, bool rotates) {
  bool hasNorm = false;
  if (norm) {
    LLMOPT_ASSIGN(hasNorm, config_.boolean(norm->when, false));
  }
  atBlock();
  LLMOPT_ASSIGN(double limit, config_.number(spec_.clip, 0.0));
  if (limit > 0 && !spec_.clipAfterNorm)
    flat = graph_.clamp(flat, -limit, limit);
  if (hasNorm && norm->over == "all") {
    LLMOPT_ASSIGN(flat, headNorm(flat, *norm, 0));
  }
  if (limit > 0 && spec_.clipAfterNorm)
    flat = graph_.clamp(flat, -limit, limit);
  Value result = GraphBuilder::typeOf(flat).getRank() == 3 ? flat : graph_.reshape(flat, {0, heads, dim});
  bool perHead = hasNorm && norm->over == "head";
  if (perHead && !norm->afterRope) {
    LLMOPT_ASSIGN(result, headNorm(result, *norm, heads));
  }
  if (rotates && spec_.rope)
    result = rotate(result);
  if (perHead && norm->afterRope) {
    LLMOPT_ASSIGN(result, headNorm(result, *norm, heads));
  }
  return result;
}

Result<Value> AttentionBuilder::project(Value input, const std::string &name, int64_t heads, int64_t dim, bool bias,
                                        const std::optional<HeadNormSpec> &norm, bool rotates) {
  return shaped(context_.linear(input, name, heads * dim, bias, spec_.transposed), heads, dim, norm, rotates);
}

/// One linear layer whose output holds all three, one after the other or group of heads by group of heads.
Result<Projections> AttentionBuilder::fusedProjections(Value input) {
  LLMOPT_ASSIGN(std::string layout, config_.text(spec_.layout));
  if (dim_ != valueDim_)
    return badInput("E0420", "invalid description: fused projections need equal key and value dimensions");
  int64_t queries = heads_ * dim_, keys = kvHeads_ * dim_;
  Value flat = context_.linear(input, spec_.fused, queries + 2 * keys, bias_, spec_.transposed);
  atBlock();
  Projections parts;
  if (layout == "concatenated") {
    parts = {graph_.sliceLast(flat, 0, queries), graph_.sliceLast(flat, queries, queries + keys),
             graph_.sliceLast(flat, queries + keys, queries + 2 * keys)};
  } else if (layout == "grouped") {
    // Each key-value head follows the query heads that share it.
    int64_t share = heads_ / kvHeads_ * dim_;
    Value groups = graph_.reshape(flat, {0, kvHeads_, share + 2 * dim_});
    parts = {graph_.reshape(graph_.sliceLast(groups, 0, share), {0, heads_, dim_}), graph_.sliceLast(groups, share, share + dim_),
             graph_.sliceLast(groups, share + dim_, share + 2 * dim_)};
  } else {
    return badInput("E0420", "invalid description: layout must be 'concatenated' or 'grouped', found '" + layout + "'");
  }
  LLMOPT_ASSIGN(parts.query, shaped(parts.query, heads_, dim_, spec_.queryNorm, true));
  LLMOPT_ASSIGN(parts.key, shaped(parts.key, kvHeads_, dim_, spec_.keyNorm, true));
  LLMOPT_ASSIGN(parts.value, shaped(parts.value, kvHeads_, dim_, std::nullopt, false));
  return parts;
}

Result<Projections> AttentionBuilder::projections(Value input) {
  if (!spec_.fused.empty())
    return fusedProjections(input);
  Projections parts;
  LLMOPT_ASSIGN(parts.query, project(input, spec_.query, heads_, dim_, bias_, spec_.queryNorm, true));
  LLMOPT_ASSIGN(parts.key, project(input, spec_.key, kvHeads_, dim_, keyBias_, spec_.keyNorm, true));
  LLMOPT_ASSIGN(parts.value, project(input, spec_.value, kvHeads_, valueDim_, bias_, std::nullopt, false));
  return parts;
}

Result<Value> AttentionBuilder::slopes() {
  if (!spec_.alibi)
    return Value();
  LLMOPT_ASSIGN(bool when, config_.boolean(spec_.alibi->when, false));
  LLMOPT_ASSIGN(double maxBias, config_.number(spec_.alibi->maxBias));
  LLMOPT_ASSIGN(double multiplier, config_.number(spec_.alibi->multiplier));
  if (!when)
    return Value();
  std::vector<float> values = alibiSlopes(heads_, maxBias, spec_.alibi->order);
  for (float &value : values)
    value = float(value * multiplier);
  return graph_.floats(values);
}

Result<Value> AttentionBuilder::distanceBias() {
  if (!spec_.relativeBias)
    return Value();
  const RelativeBiasSpec &spec = *spec_.relativeBias;
  LLMOPT_ASSIGN(int64_t buckets, config_.integer(spec.buckets, 4, kMaxBiasDistance));
  LLMOPT_ASSIGN(int64_t maxDistance, config_.integer(spec.maxDistance, 3, kMaxBiasDistance));
  LLMOPT_ASSIGN(bool bidirectional, config_.boolean(spec.bidirectional, false));
  std::string name = context_.expand(spec.name) + ".weight";
  std::optional<StoredWeight> table = context_.weights.read(name, {buckets, heads_});
  if (!table)
    return Value();
  LLMOPT_ASSIGN(StoredWeight bias, relativeBias(*table, maxDistance, bidirectional));
  return context_.weights.computed(graph_, name + ".by_distance", bias);
}

Result<Value> AttentionBuilder::attend(Value query) {
  LLMOPT_ASSIGN(double scale, config_.number(spec_.scale, 1 / std::sqrt(double(dim_))));
  LLMOPT_ASSIGN(bool causal, config_.boolean(spec_.causal, !context_.isEncoder && !spec_.cross));
  LLMOPT_ASSIGN(int64_t window, config_.integer(spec_.window, 0, INT64_MAX, 0));
  LLMOPT_ASSIGN(double softcap, config_.number(spec_.softcap, 0.0));
  LLMOPT_ASSIGN(Value slopes, this->slopes());
  LLMOPT_ASSIGN(Value bias, distanceBias());
  if (window > 0 && !causal) { // to both sides, which the operation has as a bias
    if (bias)
      context_.problems.unsupported("a sliding window to both sides beside a bias by distance is not supported");
    else if (window > kMaxBiasDistance)
      context_.problems.unsupported("a sliding window to both sides of more than " + std::to_string(kMaxBiasDistance) + " tokens is not supported");
    else
      bias = context_.weights.computed(graph_, "window." + std::to_string(window) + "." + std::to_string(heads_) + ".by_distance", windowBias(heads_, window));
    window = 0;
  }
  mlir::OpBuilder &builder = graph_.builder();
  Value sinks = spec_.sinks.empty() ? Value() : context_.weights.weightF32(graph_, context_.expand(spec_.sinks), {heads_});
  auto f32 = builder.getF32Type();
  auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, heads_, valueDim_}, f32);
  return graph_.create<llm::PagedAttentionOp>(
      type, query, slopes, bias, sinks, builder.getI64IntegerAttr(state()), builder.getI64IntegerAttr(kvHeads_),
      graph_.f32(scale), graph_.flag(causal), builder.getI64IntegerAttr(window), graph_.f32(softcap), group());
}

Status AttentionBuilder::store(Value input) {
  LLMOPT_RETURN_IF_ERROR(readSizes());
  LLMOPT_ASSIGN(Value key, project(input, spec_.key, kvHeads_, dim_, keyBias_, spec_.keyNorm, false));
  LLMOPT_ASSIGN(Value value, project(input, spec_.value, kvHeads_, valueDim_, bias_, std::nullopt, false));
  llm::CacheAppendOp::create(graph_.builder(), graph_.location(), key, value,
                             graph_.builder().getI64IntegerAttr(state()), group());
  return {};
}

Result<Value> AttentionBuilder::build(Value input) {
  LLMOPT_RETURN_IF_ERROR(readSizes());
  LLMOPT_ASSIGN(bool outputBias, config_.boolean(spec_.outputBias, bias_));
  Value query;
  if (spec_.cross) {
    LLMOPT_ASSIGN(query, project(input, spec_.query, heads_, dim_, bias_, spec_.queryNorm, false));
  } else {
    LLMOPT_ASSIGN(Projections parts, projections(input));
    query = parts.query;
    llm::CacheAppendOp::create(graph_.builder(), graph_.location(), parts.key, parts.value,
                               graph_.builder().getI64IntegerAttr(state()), group());
  }
  LLMOPT_ASSIGN(Value mixed, attend(query));
  Value flat = graph_.reshape(mixed, {0, heads_ * valueDim_});
  return context_.linear(flat, spec_.output, GraphBuilder::lastDim(input), outputBias, spec_.transposed);
}

} // namespace

Result<Value> hf::buildAttention(BlockContext &context, const std::string &blockName, const AttentionSpec &spec, Value input) {
  return AttentionBuilder(context, blockName, spec).build(input);
}

Status hf::storeCross(BlockContext &context, const std::string &blockName, const AttentionSpec &spec, Value input) {
  return AttentionBuilder(context, blockName, spec).store(input);
}
