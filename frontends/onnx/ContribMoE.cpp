//===- ContribMoE.cpp - com.microsoft: mixture of experts ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After Shazeer et al., arXiv:1701.06538. Where the weights are constants as they stand, llm.grouped_linear computes the chosen experts only.
// Else all experts are computed for all tokens, and those that a token does not choose count zero.
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

namespace {

/// Inputs of one layer: weight [E, N, K], bias [E, N]?; of quantized ones also scales and zero points?.
struct Layer {
  size_t weight, bias, scales = 0, zeros = 0;
  const char *bits = nullptr; ///< attribute with the codes' width, before that of all layers
};

class MixtureOfExperts {
public:
  MixtureOfExperts(Node &node, bool quantized) : node_(node), e_(node.emit), quantized_(quantized) {}

  Status run() {
    const Layer first = quantized_ ? Layer{2, 4, 3, 11, "fc1_expert_weight_bits"} : Layer{2, 3};
    const Layer second = quantized_ ? Layer{5, 7, 6, 12, "fc2_expert_weight_bits"} : Layer{4, 5};
    third_ = quantized_ ? Layer{8, 10, 9, 13, "fc3_expert_weight_bits"} : Layer{6, 7};
    if (!node_.requireInputs(3) || !node_.input(second.weight))
      return e_.failed() ? Status() : badInput(kNode, "the weights of the second layer are missing");
    if (quantized_ && (node_.text("quant_type", "int") != "int" || node_.integer("weights_prepacked", -1) > 0))
      return unsupported(kUnsupported, "quant_type '" + node_.text("quant_type", "int") + "' or weights packed for one device are not supported");
    if (node_.flag("use_sparse_mixer"))
      return unsupported(kUnsupported, "use_sparse_mixer is not supported");
    Value x = node_.input(0), router = node_.input(1), weight = node_.input(first.weight);
    activation_ = node_.text("activation_type", "relu");
    fusion_ = node_.integer("swiglu_fusion", 0);
    auto width = e_.staticDim(x, e_.rank(x) - 1), experts = e_.staticDim(weight, 0);
    if (!width || !experts || e_.rank(weight) != 3 || e_.rank(node_.input(second.weight)) != 3 || e_.rank(router) != 2)
      return badInput(kNode, "input, router and weights are " + describeType(e_.analysis, x) + ", " + describeType(e_.analysis, router) +
                                 " and " + describeType(e_.analysis, weight));
    Value flat = e_.widen(e_.reshape(x, {-1, *width})); // [T, H]
    if (!quantized_ && e_.elementType(flat).isF32() && llvm::all_of(ArrayRef<size_t>{first.weight, second.weight, third_.weight}, [&](size_t i) {
          return !node_.input(i) || llm::isWeightExpression(node_.input(i));
        }))
      return routed(flat, x, first, second, *experts);
    Value tokens = e_.expandDims(flat, 0); // [1, T, H]
    Value hidden = activate(tokens, layer(tokens, first));
    if (!hidden)
      return noActivation();
    Value each = layer(hidden, second), weights = e_.expandDims(e_.transpose(routing(*experts), {1, 0}), 2); // [E, T, 1]
    Value sum = e_.reduce(llm::ReduceKind::sum, e_.mul(each, weights), 0, /*keepDims=*/false);
    node_.set(0, e_.cast(e_.reshapeTo(sum, e_.shapeOf(x)), e_.elementType(x)));
    return {};
  }

private:
  Status noActivation() {
    return e_.failed() ? Status() : unsupported(kUnsupported, "activation '" + activation_ + "' is not supported");
  }

  /// The chosen experts of each token, [T, k, ..] everywhere.
  Status routed(Value tokens, Value like, const Layer &first, const Layer &second, int64_t experts) {
    Value logits = e_.widen(node_.input(1)), best = bestOf(logits, experts);
    if (!best)
      return {};
    chosen_ = best.getDefiningOp()->getResult(1);
    order_ = e_.op("llm.group_rows", {chosen_}, {e_.attr("experts", experts)});
    Value hidden = activate(tokens, layer(tokens, first));
    if (!hidden)
      return noActivation();
    // Normalized, the weights are a softmax of the chosen experts' logits alone.
    Value weights = node_.flag("normalize_routing_weights") ? e_.softmax(best, 1)
                                                            : e_.op("llm.gather_elements", {e_.softmax(logits, 1), chosen_}, {e_.attr("axis", 1)});
    Value each = layer(hidden, second);
    Value sum = e_.reduce(llm::ReduceKind::sum, e_.mul(each, e_.expandDims(weights, 2)), 1, /*keepDims=*/false);
    node_.set(0, e_.cast(e_.reshapeTo(sum, e_.shapeOf(like)), e_.elementType(like)));
    return {};
  }

  /// The k best of each row of logits.
  Value bestOf(Value logits, int64_t experts) {
    int64_t k = node_.has("k") ? node_.requiredInteger("k", 1, experts) : 1;
    return e_.op("llm.topk", {logits, e_.vector(k)}, {e_.attr("axis", 1), e_.attr("largest", Attribute(e_.builder.getBoolAttr(true)))});
  }

  /// Weight [E, N, K] from codes [E, N, K * bits / 8].
  Value dequantized(const Layer &l) {
    Value scales = node_.input(l.scales), zeros = node_.input(l.zeros);
    int64_t bits = node_.integer(l.bits, node_.integer("expert_weight_bits", 4)), block = node_.integer("block_size", 0);
    if (!scales || (bits != 2 && bits != 4 && bits != 8)) {
      e_.invalid(scales ? "codes of " + std::to_string(bits) + " bits do not exist" : "the scales of a layer are missing");
      return {};
    }
    Value codes = unpackCodes(e_, node_.input(l.weight), bits);
    auto rows = e_.staticDim(codes, 1), columns = e_.staticDim(codes, 2);
    if (!rows || !columns)
      return {};
    bool blocked = e_.rank(scales) == 3;
    if (zeros) {
      zeros = unpackCodes(e_, zeros, bits);
      zeros = e_.slice(zeros, e_.rank(zeros) - 1, 0, blocked ? e_.staticDim(scales, 2).value_or(0) : *rows);
    } else {
      zeros = e_.broadcast(e_.scalar(e_.elementType(codes), double(1 << (bits - 1))), e_.shapeOf(scales));
    }
    if (!blocked)
      scales = e_.expandDims(scales, 2), zeros = e_.expandDims(zeros, 2), block = *columns;
    return dequantize(e_, codes, scales, zeros, 2, block);
  }

  /// x W^T + b
  Value layer(Value x, const Layer &l) {
    if (order_) {
      Value y = e_.op("llm.grouped_linear", {x, node_.input(l.weight), order_, order_.getDefiningOp()->getResult(1)});
      Value bias = node_.input(l.bias);
      return y && bias ? e_.add(y, e_.gather(e_.cast(bias, e_.elementType(y)), chosen_, 0)) : y;
    }
    Value weight = e_.cast(quantized_ ? dequantized(l) : node_.input(l.weight), e_.elementType(x)), bias = node_.input(l.bias);
    Value y = e_.matmul(x, e_.transpose(weight, {0, 2, 1}));
    return bias ? e_.add(y, e_.expandDims(e_.cast(bias, e_.elementType(x)), 1)) : y;
  }

  Value limited(Value x, bool below) {
    double limit = node_.number("swiglu_limit", 0);
    if (limit <= 0)
      return x;
    x = e_.min(x, e_.scalar(e_.elementType(x), limit));
    return below ? e_.max(x, e_.scalar(e_.elementType(x), -limit)) : x;
  }

  Value gated(Value gate, Value linear) {
    gate = limited(gate, false), linear = limited(linear, true);
    Value swish = e_.mul(gate, e_.unary("llm.sigmoid", e_.mul(gate, node_.number("activation_alpha", 1))));
    return e_.mul(swish, e_.add(linear, e_.scalar(e_.elementType(linear), node_.number("activation_beta", 0))));
  }

  /// The activation of the first layer's result; null if there is none of this name.
  Value activate(Value tokens, Value x) {
    auto width = e_.staticDim(x, 2);
    if (activation_ == "swiglu" && fusion_ != 0) {
      if (!width || *width % 2 != 0)
        return {};
      auto part = [&](int64_t i) { // interleaved, or one behind the other
        return fusion_ == 1 ? e_.slice(x, e_.vector(i), e_.vector(INT64_MAX), 2, 2) : e_.slice(x, 2, i * *width / 2, (i + 1) * *width / 2);
      };
      return gated(part(0), part(1));
    }
    Value linear = node_.input(third_.weight) ? layer(tokens, third_) : Value();
    if (activation_ == "swiglu")
      return linear ? gated(x, linear) : Value();
    if (activation_ == "relu")
      x = e_.unary("llm.relu", x);
    else if (activation_ == "gelu")
      x = e_.op("llm.gelu", x);
    else if (activation_ == "silu")
      x = e_.unary("llm.silu", x);
    else if (activation_ != "identity")
      return {};
    return linear ? e_.mul(x, linear) : x;
  }

  /// Weights [T, E] of the experts, zero for those not chosen.
  Value routing(int64_t experts) {
    Value logits = e_.widen(node_.input(1));
    Value best = bestOf(logits, experts);
    if (!best)
      return {};
    Value chosen = e_.expandDims(best.getDefiningOp()->getResult(1), 2); // [T, k, 1]
    Value hits = e_.cast(e_.compare(P::eq, chosen, e_.range(e_.integer(0), e_.integer(experts))), e_.i64());
    Value isChosen = e_.compare(P::gt, e_.reduce(llm::ReduceKind::sum, hits, 1, /*keepDims=*/false), 0.0);
    Type type = e_.elementType(logits);
    if (Value given = quantized_ ? node_.input(14) : Value()) { // the router's numbers choose, these weigh
      given = e_.select(isChosen, e_.widen(given), e_.scalar(type, 0));
      bool normalize = node_.flag("normalize_routing_weights");
      return normalize ? e_.div(given, e_.reduce(llm::ReduceKind::sum, given, 1)) : given;
    }
    if (node_.flag("normalize_routing_weights"))
      return e_.softmax(e_.select(isChosen, logits, e_.scalar(type, -std::numeric_limits<double>::infinity())), 1);
    return e_.select(isChosen, e_.softmax(logits, 1), e_.scalar(type, 0));
  }

  Node &node_;
  Emitter &e_;
  const bool quantized_;
  Layer third_{};
  Value chosen_, order_; ///< where only chosen experts are computed: [T, k], and llm.group_rows of it
  std::string activation_;
  int64_t fusion_ = 0;
};

} // namespace

Status importMoE(Node &node) { return MixtureOfExperts(node, /*quantized=*/false).run(); }
Status importQMoE(Node &node) { return MixtureOfExperts(node, /*quantized=*/true).run(); }

} // namespace llmopt::onnx
