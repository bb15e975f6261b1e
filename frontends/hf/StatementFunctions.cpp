//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// The functions that statements can call; docs/HowToAddAnArchitecture.md lists them.

#include "ModelBuilder.h"

using namespace llmopt;
using namespace llmopt::hf;
using mlir::Value;

static Status wrongArguments(const std::string &callee, const char *wanted) {
  return badInput("E0421", "'" + callee + "' takes (" + wanted + ")");
}

static bool isTensorAt(const std::vector<Operand> &arguments, size_t index) {
  return index < arguments.size() && arguments[index].isTensor();
}
static bool isTextAt(const std::vector<Operand> &arguments, size_t index) {
  return index < arguments.size() && arguments[index].json.isString();
}

Result<Operand> ModelBuilder::call(const std::string &callee, const std::vector<Operand> &arguments) {
  auto wrap = [](Result<Value> value) -> Result<Operand> {
    return value ? Result<Operand>(Operand{{}, *value}) : Result<Operand>(value.status());
  };
  if (callee == "embedding")
    return wrap(embedding(arguments));
  if (callee == "linear")
    return wrap(linear(arguments));
  if (callee == "row")
    return wrap(row(arguments));
  if (callee == "weight")
    return wrap(weight(arguments));
  if (callee == "softcap")
    return wrap(softcap(arguments));
  if (callee == "count_positions")
    return wrap(countPositions(arguments));
  if (callee == "rows") {
    if (arguments.size() != 2 || !isTensorAt(arguments, 0) || !isTensorAt(arguments, 1))
      return wrongArguments(callee, "tensor, row numbers");
    return Operand{{}, graph_.gatherRows(arguments[0].tensor, arguments[1].tensor)};
  }
  if (callee == "activate") {
    if (arguments.size() != 2 || !isTensorAt(arguments, 0) || !isTextAt(arguments, 1))
      return wrongArguments(callee, "tensor, 'name of the activation'");
    return wrap(buildActivation(graph_, arguments[1].json.asString(), arguments[0].tensor));
  }
  return callBlock(callee, arguments);
}

/// A block of the description, by its name.
Result<Operand> ModelBuilder::callBlock(const std::string &callee, const std::vector<Operand> &arguments) {
  bool stores = callee.ends_with(".store");
  std::string block = stores ? callee.substr(0, callee.size() - 6) : callee;
  auto norm = architecture_.norms.find(block);
  auto attention = architecture_.attentions.find(block);
  auto mlp = architecture_.mlps.find(block);
  auto experts = architecture_.experts.find(block);
  bool isNorm = norm != architecture_.norms.end(), isAttention = attention != architecture_.attentions.end();
  if ((!isNorm && !isAttention && mlp == architecture_.mlps.end() && experts == architecture_.experts.end()) || (stores && (!isAttention || !attention->second.cross)))
    return badInput("E0420", "invalid description: '" + callee + "' is neither a block nor a function");
  if (!isTensorAt(arguments, 0) || arguments.size() > (isNorm ? 2u : 1u) || (arguments.size() == 2 && !isTextAt(arguments, 1)))
    return wrongArguments(callee, isNorm ? "tensor, 'name of its weights'" : "tensor");
  Value input = arguments[0].tensor;
  if (stores) {
    LLMOPT_RETURN_IF_ERROR(storeCross(context_, block, attention->second, input));
    return Operand{};
  }
  Result<Value> result = isNorm        ? buildNorm(context_, norm->second, input, arguments.size() == 2 ? arguments[1].json.asString() : "")
                         : isAttention ? buildAttention(context_, block, attention->second, input)
                         : mlp == architecture_.mlps.end() ? buildExperts(context_, experts->second, input)
                                       : buildMlp(context_, mlp->second, input);
  // A block's result is shaped like its input: with that in its place, the rest of the model can be looked at too.
  context_.problems.absorb(result.status());
  return Operand{{}, result ? *result : input};
}

Result<int64_t> ModelBuilder::size(const std::vector<Operand> &arguments, size_t index, int64_t most, std::optional<int64_t> fallback) {
  if (index >= arguments.size() && fallback)
    return *fallback;
  return context_.config.integer(Expression::literal(index < arguments.size() ? arguments[index].json : Json()), 1, most);
}

/// embedding(ids, 'name'[, rows[, width]])
Result<Value> ModelBuilder::embedding(const std::vector<Operand> &arguments) {
  if (!isTensorAt(arguments, 0) || !isTextAt(arguments, 1) || arguments.size() > 4)
    return wrongArguments("embedding", "ids, 'name of its weights', rows, width");
  static const Expression vocabulary = Expression::parse("vocab_size").take(), hidden = Expression::parse("hidden_size").take();
  LLMOPT_ASSIGN(int64_t allRows, arguments.size() > 2 ? Result<int64_t>(0) : context_.config.integer(vocabulary, 1, kMaxVocabulary));
  LLMOPT_ASSIGN(int64_t allColumns, arguments.size() > 3 ? Result<int64_t>(0) : context_.config.integer(hidden, 1, kMaxWidth));
  LLMOPT_ASSIGN(int64_t rows, size(arguments, 2, kMaxPositionRows, allRows));
  LLMOPT_ASSIGN(int64_t width, size(arguments, 3, kMaxWidth, allColumns));
  std::string name = context_.expand(arguments[1].json.asString());
  graph_.at(name);
  Value table = context_.weights.weight(graph_, name + ".weight", {rows, width});
  auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, width}, graph_.builder().getF32Type());
  return graph_.create<llm::EmbeddingOp>(type, arguments[0].tensor, table);
}

/// count_positions(ids, positions, padding): the tokens so far of a token's sequence, itself included, that are not padding;
/// 0 for padding itself. Of whole sequences only, as encoders are given them.
Result<Value> ModelBuilder::countPositions(const std::vector<Operand> &arguments) {
  if (arguments.size() != 3 || !isTensorAt(arguments, 0) || !isTensorAt(arguments, 1) || !arguments[2].json.isInt())
    return wrongArguments("count_positions", "ids, positions, id of the padding token");
  Value ids = arguments[0].tensor, positions = arguments[1].tensor;
  mlir::Type type = ids.getType();
  Value one = graph_.scalarLike(1, ids);
  auto running = [&](Value values) { return graph_.create<llm::CumSumOp>(type, values, uint64_t(0), false, false); };
  auto isToken = graph_.create<llm::CompareOp>(GraphBuilder::typeOf(ids).clone(graph_.builder().getI1Type()), llm::ComparePredicate::ne, ids,
                                               graph_.scalarLike(double(arguments[2].json.asInt()), ids));
  Value mask = graph_.create<llm::CastOp>(type, isToken);
  // Sequences lie one behind the other: count from the first token of all, less what stood before this sequence.
  Value everything = graph_.binary<llm::AddOp>(graph_.binary<llm::MulOp>(mask, graph_.scalarLike(0, ids)), one);
  Value place = graph_.binary<llm::SubOp>(running(everything), one);
  Value first = graph_.binary<llm::SubOp>(place, positions);
  Value counted = running(mask);
  Value before = graph_.gatherRows(graph_.binary<llm::SubOp>(counted, mask), first);
  return graph_.binary<llm::MulOp>(graph_.binary<llm::SubOp>(counted, before), mask);
}

/// linear(x, 'name', outputs[, bias])
Result<Value> ModelBuilder::linear(const std::vector<Operand> &arguments) {
  if (!isTensorAt(arguments, 0) || !isTextAt(arguments, 1) || arguments.size() < 3 || arguments.size() > 4)
    return wrongArguments("linear", "tensor, 'name of its weights', outputs, has a bias");
  LLMOPT_ASSIGN(int64_t outputs, size(arguments, 2, kMaxVocabulary));
  LLMOPT_ASSIGN(bool bias, context_.config.boolean(Expression::literal(arguments.size() > 3 ? arguments[3].json : Json()), false));
  return context_.linear(arguments[0].tensor, arguments[1].json.asString(), outputs, bias, false);
}

/// row('name', index, rows): one row of a table, the same for every token.
Result<Value> ModelBuilder::row(const std::vector<Operand> &arguments) {
  if (!isTextAt(arguments, 0) || arguments.size() != 3 || !arguments[1].json.isInt())
    return wrongArguments("row", "'name of the table', row, rows");
  LLMOPT_ASSIGN(int64_t rows, size(arguments, 2, kMaxPositionRows));
  LLMOPT_ASSIGN(int64_t width, context_.config.integer(Expression::parse("hidden_size").take(), 1, kMaxWidth));
  int64_t index = arguments[1].json.asInt();
  if (index < 0 || index >= rows)
    return wrongArguments("row", "'name of the table', row, rows");
  std::string name = context_.expand(arguments[0].json.asString());
  graph_.at(name);
  Value table = context_.weights.weightF32(graph_, name + ".weight", {rows, width});
  return graph_.slice(table, 0, index, index + 1);
}

/// weight('name', dims...): a tensor of scales or shifts, named in full.
Result<Value> ModelBuilder::weight(const std::vector<Operand> &arguments) {
  if (!isTextAt(arguments, 0) || arguments.size() < 2)
    return wrongArguments("weight", "'full name', dimensions");
  llvm::SmallVector<int64_t> shape;
  for (size_t i = 1; i < arguments.size(); ++i) {
    LLMOPT_ASSIGN(int64_t dim, size(arguments, i, kMaxWidth));
    shape.push_back(dim);
  }
  std::string name = context_.expand(arguments[0].json.asString());
  graph_.at(name);
  return context_.weights.weightF32(graph_, name, shape);
}

/// softcap(x, cap): cap * tanh(x / cap), or x where cap is null or 0.
Result<Value> ModelBuilder::softcap(const std::vector<Operand> &arguments) {
  if (!isTensorAt(arguments, 0) || arguments.size() != 2)
    return wrongArguments("softcap", "tensor, cap");
  LLMOPT_ASSIGN(double cap, context_.config.number(Expression::literal(arguments[1].json), 0.0));
  Value input = arguments[0].tensor;
  if (cap == 0)
    return input;
  Value bounded = graph_.unary<llm::TanhOp>(graph_.binary<llm::DivOp>(input, graph_.scalar(cap)));
  return graph_.binary<llm::MulOp>(bounded, graph_.scalar(cap));
}
