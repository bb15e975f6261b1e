//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Feed-forward blocks of which each token uses a few: a router chooses, and the results of the chosen ones are added by its weights.

#include "BlockScales.h"
#include "Blocks.h"

using namespace llmopt;
using namespace llmopt::hf;
using mlir::Value;

namespace {

struct Routing {
  Value weights, chosen; ///< f32 and i64 [tokens, top_k]
  Value order, offsets; ///< of llm.group_rows
};

class ExpertsBuilder {
public:
  ExpertsBuilder(BlockContext &context, const ExpertsSpec &spec) : context_(context), graph_(context.graph), spec_(spec) {}

  Result<Value> build(Value input) {
    LLMOPT_ASSIGN(count_, context_.config.integer(spec_.count, 1, kMaxExperts));
    LLMOPT_ASSIGN(chosen_, context_.config.integer(spec_.topK, 1, count_));
    LLMOPT_ASSIGN(size_, context_.config.integer(spec_.size, 1, kMaxWidth));
    LLMOPT_ASSIGN(bool normalize, context_.config.boolean(spec_.normalize, false));
    LLMOPT_ASSIGN(bool routerBias, context_.config.boolean(spec_.routerBias, false));
    int64_t width = GraphBuilder::lastDim(input);
    Routing routing = route(input, normalize, routerBias);
    std::string stacked = context_.expand(spec_.stackedGateUp);
    Value gate, up, down;
    if (!stacked.empty() && (spec_.gate.empty() || context_.weights.has(stacked))) {
      graph_.at(stacked);
      Value both = stackedMatrices(stacked, 2 * size_, width);
      gate = part(both, 0), up = part(both, 1);
      down = stackedMatrices(context_.expand(spec_.stackedDown), width, size_);
    } else {
      gate = matrices(spec_.gate, size_, width), up = matrices(spec_.up, size_, width), down = matrices(spec_.down, width, size_);
    }
    Value gated = product(input, gate, routing, spec_.gate), linear = product(input, up, routing, spec_.up);
    if (!spec_.stackedGateUpBias.empty()) {
      Value both = context_.weights.weightF32(graph_, context_.expand(spec_.stackedGateUpBias), {count_, 2 * size_});
      gated = biased(gated, part(both, 0), routing), linear = biased(linear, part(both, 1), routing);
    }
    LLMOPT_ASSIGN(Value inner, activate(gated, linear));
    Value each = product(inner, down, routing, spec_.down);
    if (!spec_.stackedDownBias.empty())
      each = biased(each, context_.weights.weightF32(graph_, context_.expand(spec_.stackedDownBias), {count_, width}), routing);
    Value share = graph_.create<llm::ExpandDimsOp>(mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, chosen_, 1}, f32()), routing.weights,
                                                   llvm::ArrayRef<int64_t>{2});
    Value weighted = graph_.binary<llm::MulOp>(each, share);
    return graph_.create<llm::ReduceOp>(input.getType(), llm::ReduceKind::sum, weighted, llvm::ArrayRef<int64_t>{1}, /*keepdims=*/false);
  }

private:
  mlir::Type f32() { return graph_.builder().getF32Type(); }

  Routing route(Value input, bool normalize, bool bias) {
    mlir::OpBuilder &builder = graph_.builder();
    Value scores = context_.linear(input, spec_.router, count_, bias, /*transposed=*/false);
    if (spec_.softmax == "all")
      scores = graph_.create<llm::SoftmaxOp>(scores.getType(), scores, uint64_t(1));
    auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, chosen_}, f32());
    auto best = llm::TopKOp::create(builder, graph_.location(), type, type.clone(builder.getI64Type()), scores, graph_.integers({chosen_}), 1,
                                    /*largest=*/true);
    Routing routing;
    routing.weights = best.getValues(), routing.chosen = best.getIndices();
    if (spec_.softmax == "chosen")
      routing.weights = graph_.create<llm::SoftmaxOp>(type, routing.weights, uint64_t(1));
    if (normalize) {
      auto rows = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, 1}, f32());
      Value sum = graph_.create<llm::ReduceOp>(rows, llm::ReduceKind::sum, routing.weights, llvm::ArrayRef<int64_t>{1}, /*keepdims=*/true);
      routing.weights = graph_.binary<llm::DivOp>(routing.weights, sum);
    }
    auto i32 = builder.getI32Type();
    auto groups = llm::GroupRowsOp::create(builder, graph_.location(), type.clone(i32), mlir::RankedTensorType::get({count_ + 1}, i32),
                                           best.getIndices(), uint64_t(count_));
    routing.order = groups.getOrder(), routing.offsets = groups.getOffsets();
    return routing;
  }

  Result<Value> activate(Value gate, Value linear) {
    if (!spec_.clamped) {
      LLMOPT_ASSIGN(std::string activation, context_.config.text(spec_.activation));
      Result<Value> active = buildActivation(graph_, activation, gate);
      context_.problems.absorb(active.status());
      return active ? graph_.binary<llm::MulOp>(*active, linear) : linear;
    }
    LLMOPT_ASSIGN(double alpha, context_.config.number(spec_.clamped->alpha));
    LLMOPT_ASSIGN(double limit, context_.config.number(spec_.clamped->limit));
    gate = graph_.binary<llm::MinOp>(gate, graph_.scalar(limit));
    Value active = graph_.binary<llm::MulOp>(gate, graph_.unary<llm::SigmoidOp>(graph_.binary<llm::MulOp>(gate, graph_.scalar(alpha))));
    return graph_.binary<llm::MulOp>(active, graph_.binary<llm::AddOp>(graph_.clamp(linear, -limit, limit), graph_.scalar(1)));
  }

  /// Of all experts, [count, outputs, inputs].
  Value stackedMatrices(const std::string &name, int64_t outputs, int64_t inputs) {
    if (spec_.mxfp4 && context_.weights.has(name + "_blocks") && inputs % kMxBlock == 0) {
      auto blocks = context_.weights.readCodes(name + "_blocks", {count_, outputs, inputs / kMxBlock, kMxBlock / 2});
      auto scales = context_.weights.readCodes(name + "_scales", {count_, outputs, inputs / kMxBlock});
      if (blocks && scales)
        return context_.weights.computed(graph_, name, decodeMxfp4(*blocks, *scales));
    }
    if (!spec_.transposed)
      return context_.weights.weight(graph_, name, {count_, outputs, inputs});
    Value stored = context_.weights.weight(graph_, name, {count_, inputs, outputs});
    return graph_.create<llm::TransposeOp>(GraphBuilder::typeOf(stored).clone(llvm::ArrayRef<int64_t>{count_, outputs, inputs}), stored, llvm::ArrayRef<int64_t>{0, 2, 1});
  }

  /// The gate's (0) or the linear part's (1) share of a stacked tensor.
  Value part(Value both, int64_t which) {
    return spec_.interleaved ? graph_.slice(both, 1, which, 2 * size_, 2) : graph_.slice(both, 1, which * size_, (which + 1) * size_);
  }

  /// Each row with its expert's bias.
  Value biased(Value rows, Value bias, const Routing &routing) { return graph_.binary<llm::AddOp>(rows, graph_.gatherRows(bias, routing.chosen)); }

  /// The matrices of all experts, one behind the other.
  Value matrices(const std::string &name, int64_t outputs, int64_t inputs) {
    std::string pattern = context_.expand(name) + ".weight";
    graph_.at(place(name));
    llvm::SmallVector<Value> all;
    bool alike = true;
    for (int64_t expert = 0; expert < count_; ++expert) {
      std::string full = pattern;
      if (size_t at = full.find("{e}"); at != full.npos)
        full.replace(at, 3, std::to_string(expert));
      all.push_back(context_.weights.weight(graph_, full, {outputs, inputs}));
      alike &= all.back().getType() == all.front().getType();
    }
    for (Value &matrix : all) {
      if (!alike)
        matrix = graph_.toF32(matrix);
      auto type = mlir::RankedTensorType::get({1, outputs, inputs}, GraphBuilder::typeOf(matrix).getElementType());
      matrix = graph_.create<llm::ExpandDimsOp>(type, matrix, llvm::ArrayRef<int64_t>{0});
    }
    auto type = GraphBuilder::typeOf(all.front()).clone(llvm::ArrayRef<int64_t>{count_, outputs, inputs});
    return graph_.create<llm::ConcatOp>(type, all, uint64_t(0));
  }

  Value product(Value input, Value weight, const Routing &routing, const std::string &name) {
    graph_.at(place(name));
    auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, chosen_, GraphBuilder::typeOf(weight).getDimSize(1)}, f32());
    return graph_.create<llm::GroupedLinearOp>(type, input, weight, routing.order, routing.offsets);
  }

  /// "layers.3.mlp.experts.up_proj", for what belongs to all experts.
  std::string place(const std::string &name) {
    std::string full = context_.expand(name.empty() ? spec_.stackedGateUp : name);
    if (size_t at = full.find("{e}."); at != full.npos)
      full.erase(at, 4);
    return full;
  }

  BlockContext &context_;
  GraphBuilder &graph_;
  const ExpertsSpec &spec_;
  int64_t count_ = 0, chosen_ = 0, size_ = 0;
};

} // namespace

Result<Value> hf::buildExperts(BlockContext &context, const ExpertsSpec &spec, Value input) { return ExpertsBuilder(context, spec).build(input); }
