//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Blocks.h"

using namespace llmopt;
using namespace llmopt::hf;
using mlir::Value;

/// Each row divided by its largest element's share of the largest e4m3; `scale`: by what.
static Value roundRows(GraphBuilder &graph, Value input, Value &scale) {
  constexpr double kLargest = 448, kSmallestScale = 0x1p-126; // a row of zeros has one, too
  auto type = GraphBuilder::typeOf(input);
  int64_t last = type.getRank() - 1;
  llvm::SmallVector<int64_t> rows(type.getShape());
  rows.back() = 1;
  Value most = graph.create<llm::ReduceOp>(type.clone(rows), llm::ReduceKind::max, graph.unary<llm::AbsOp>(input), llvm::ArrayRef<int64_t>{last}, /*keepdims=*/true);
  scale = graph.binary<llm::MaxOp>(graph.binary<llm::DivOp>(most, graph.scalar(kLargest)), graph.scalar(kSmallestScale));
  return graph.binary<llm::DivOp>(input, scale);
}

/// `input` as e4m3 and back.
static Value roundInput(GraphBuilder &graph, Value input, Value quotient, Value scale) {
  auto type = GraphBuilder::typeOf(input);
  Value codes = graph.create<llm::CastOp>(type.clone(mlir::Float8E4M3FNType::get(graph.builder().getContext())), quotient);
  return graph.binary<llm::MulOp>(graph.toF32(codes), scale);
}

/// For each element of [outputs, inputs] the scale of its block.
static Value blockScales(GraphBuilder &graph, Value scales, const Float8Scheme &scheme, int64_t outputs, int64_t inputs) {
  auto blocksOf = [&](int64_t count, int64_t block) {
    llvm::SmallVector<int64_t> blocks;
    for (int64_t i = 0; i < count; ++i)
      blocks.push_back(i / block);
    return graph.integers(blocks);
  };
  Value rows = graph.gatherRows(scales, blocksOf(outputs, scheme.blockOutputs));
  return graph.create<llm::GatherOp>(GraphBuilder::typeOf(rows).clone({outputs, inputs}), rows, blocksOf(inputs, scheme.blockInputs), uint64_t(1));
}

Value BlockContext::float8Linear(const Float8Scheme &scheme, Value input, const std::string &full, int64_t outputs, Value bias) {
  int64_t inputs = GraphBuilder::lastDim(input);
  Value codes = graph.toF32(weights.codes(graph, full + ".weight", {outputs, inputs}));
  if (scheme.blockInputs) {
    auto blocks = [](int64_t count, int64_t block) { return (count + block - 1) / block; };
    Value scales = weights.weightF32(graph, full + scheme.scaleName, {blocks(outputs, scheme.blockOutputs), blocks(inputs, scheme.blockInputs)});
    Value weight = graph.binary<llm::MulOp>(codes, blockScales(graph, scales, scheme, outputs, inputs));
    auto bf16 = GraphBuilder::typeOf(weight).clone(graph.builder().getBF16Type());
    return graph.linear(input, graph.create<llm::CastOp>(bf16, weight), bias, /*transposed=*/false);
  }
  Value weight = graph.binary<llm::MulOp>(codes, weights.scale(graph, full + scheme.scaleName, outputs)), scale;
  if (scheme.input == Float8Scheme::Input::Fixed) {
    scale = weights.scale(graph, full + ".input_scale", 1);
    input = roundInput(graph, input, graph.binary<llm::DivOp>(input, scale), scale);
  } else if (scheme.input == Float8Scheme::Input::Token) {
    Value quotient = roundRows(graph, input, scale);
    input = roundInput(graph, input, quotient, scale);
  }
  return graph.linear(input, weight, bias, /*transposed=*/false);
}

Value BlockContext::linear(Value input, const std::string &name, int64_t outputs, bool bias, bool transposed) {
  std::string full = expand(name);
  graph.at(full);
  int64_t inputs = GraphBuilder::lastDim(input);
  if (std::optional<Float8Scheme> scheme = weights.float8(full + ".weight"); scheme && !transposed)
    return float8Linear(*scheme, input, full, outputs, bias ? weights.weightF32(graph, full + ".bias", {outputs}) : Value());
  Value weight = weights.weight(graph, full + ".weight", transposed ? llvm::ArrayRef{inputs, outputs} : llvm::ArrayRef{outputs, inputs});
  Value added = bias ? weights.weightF32(graph, full + ".bias", {outputs}) : Value();
  return graph.linear(input, weight, added, transposed);
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// One scale a head, stored as one tensor [heads, D] or, where the name has {h}, as `heads` tensors [D].
static Value headRows(BlockContext &context, const std::string &name, int64_t heads, int64_t dim) {
  size_t at = name.find("{h}");
  if (at == name.npos)
    return context.weights.weightF32(context.graph, name, {heads, dim});
  llvm::SmallVector<Value> rows;
  mlir::Type f32 = context.graph.builder().getF32Type();
  for (int64_t head = 0; head < heads; ++head) {
    Value row = context.weights.weightF32(context.graph, std::string(name).replace(at, 3, std::to_string(head)), {dim});
    rows.push_back(context.graph.create<llm::ExpandDimsOp>(mlir::RankedTensorType::get({1, dim}, f32), row, llvm::ArrayRef<int64_t>{0}));
  }
  return context.graph.create<llm::ConcatOp>(mlir::RankedTensorType::get({heads, dim}, f32), rows, uint64_t(0));
}

static Value normalize(GraphBuilder &graph, bool isRms, Value input, Value scale, Value bias, double epsilon, double offset) {
  if (isRms)
    return graph.create<llm::RMSNormOp>(input.getType(), input, scale, graph.f32(epsilon), graph.f32(offset));
  return graph.create<llm::LayerNormOp>(input.getType(), input, scale, bias, graph.f32(epsilon));
}

Result<Value> hf::buildNorm(BlockContext &context, const NormSpec &spec, Value input, const std::string &name, int64_t heads) {
  GraphBuilder &graph = context.graph;
  LLMOPT_ASSIGN(double epsilon, context.config.number(spec.epsilon));
  LLMOPT_ASSIGN(double offset, context.config.number(spec.offset, 0.0));
  LLMOPT_ASSIGN(bool hasScale, context.config.boolean(spec.scale, true));
  LLMOPT_ASSIGN(bool hasBias, context.config.boolean(spec.bias, false));
  std::string full = context.expand(name);
  if (!full.empty())
    graph.at(full);
  int64_t dim = GraphBuilder::lastDim(input);
  bool isRms = spec.kind == "rms";
  auto bind = [&](bool wanted, const char *suffix) {
    if (!wanted || full.empty())
      return Value();
    return heads ? headRows(context, full + suffix, heads, dim) : context.weights.weightF32(graph, full + suffix, {dim});
  };
  Value scale = bind(hasScale, ".weight"), bias = bind(hasBias, ".bias");
  if (scale && offset != 0 && (!isRms || heads))
    scale = graph.binary<llm::AddOp>(scale, graph.scalar(offset));
  if (!heads && !(isRms && bias))
    return normalize(graph, isRms, input, scale, bias, epsilon, offset);
  // The norm operations take one scale for all heads, and an RMS norm takes no bias: apply those after it.
  Value result = normalize(graph, isRms, input, heads ? Value() : scale, Value(), epsilon, heads ? 0 : offset);
  if (heads && scale)
    result = graph.binary<llm::MulOp>(result, scale);
  return bias ? graph.binary<llm::AddOp>(result, bias) : result;
}

//===----------------------------------------------------------------------===//
// Feed-forward
//===----------------------------------------------------------------------===//

Result<Value> hf::buildActivation(GraphBuilder &graph, const std::string &name, Value input) {
  if (name == "silu" || name == "swish")
    return graph.unary<llm::SiluOp>(input);
  if (name == "gelu" || name == "gelu_python")
    return graph.create<llm::GeluOp>(input.getType(), input, false);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_python_tanh" || name == "gelu_fast" || name == "gelu_accurate")
    return graph.create<llm::GeluOp>(input.getType(), input, true);
  if (name == "relu")
    return graph.unary<llm::ReluOp>(input);
  if (name == "tanh")
    return graph.unary<llm::TanhOp>(input);
  if (name == "sigmoid")
    return graph.unary<llm::SigmoidOp>(input);
  if (name == "relu2") {
    Value positive = graph.unary<llm::ReluOp>(input);
    return graph.binary<llm::MulOp>(positive, positive);
  }
  if (name == "quick_gelu") {
    Value gate = graph.unary<llm::SigmoidOp>(graph.binary<llm::MulOp>(input, graph.scalar(1.702)));
    return graph.binary<llm::MulOp>(input, gate);
  }
  if (name == "mish")
    return graph.binary<llm::MulOp>(input, graph.unary<llm::TanhOp>(graph.unary<llm::SoftplusOp>(input)));
  if (name == "relu6")
    return graph.clamp(input, 0, 6);
  if (name == "linear" || name == "identity")
    return input;
  return unsupported("E0411", "activation '" + name + "' is not supported");
}

/// The name of the enclosing module: all up to the last dot.
static std::string parentOf(const std::string &name) { return name.substr(0, name.rfind('.')); }

Result<Value> hf::buildMlp(BlockContext &context, const MlpSpec &spec, Value input) {
  LLMOPT_ASSIGN(std::string activation, context.config.text(spec.activation));
  LLMOPT_ASSIGN(int64_t size, context.config.integer(spec.size, 1, kMaxWidth));
  LLMOPT_ASSIGN(bool bias, context.config.boolean(spec.bias, false));
  GraphBuilder &graph = context.graph;
  int64_t width = GraphBuilder::lastDim(input);
  Value gate, up;
  if (!spec.fused.empty()) {
    Value both = context.linear(input, spec.fused, 2 * size, bias, spec.transposed);
    gate = graph.sliceLast(both, 0, size);
    up = graph.sliceLast(both, size, 2 * size);
  } else {
    if (!spec.gate.empty())
      gate = context.linear(input, spec.gate, size, bias, spec.transposed);
    up = context.linear(input, spec.up, size, bias, spec.transposed);
  }
  graph.at(parentOf(context.expand(spec.down)));
  Result<Value> active = buildActivation(graph, activation, gate ? gate : up);
  context.problems.absorb(active.status());
  Value inner = !active ? up : gate ? graph.binary<llm::MulOp>(*active, up) : *active;
  return context.linear(inner, spec.down, width, bias, spec.transposed);
}
