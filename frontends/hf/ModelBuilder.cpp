//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ModelBuilder.h"

using namespace llmopt;
using namespace llmopt::hf;
using mlir::Value;

ModelBuilder::ModelBuilder(const Architecture &architecture, ConfigScope &config, WeightBinder &weights, Problems &problems,
                           mlir::ModuleOp module, int64_t wantedPositions)
    : architecture_(architecture), module_(module), graph_(mlir::OpBuilder(module.getContext())),
      context_{graph_, config, weights, problems, wantedPositions, {}, false, -1, {}, 0, {}} {}

void ModelBuilder::build() {
  for (const FunctionSpec &spec : architecture_.functions)
    buildFunction(spec);
}

void ModelBuilder::addArguments(mlir::func::FuncOp function, const std::vector<std::pair<const char *, const char *>> &arguments) {
  mlir::OpBuilder &builder = graph_.builder();
  auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic}, builder.getI32Type());
  function.setFunctionType(builder.getFunctionType(llvm::SmallVector<mlir::Type>(arguments.size(), type), {}));
  mlir::Block *entry = function.addEntryBlock();
  for (auto [index, argument] : llvm::enumerate(arguments)) {
    function.setArgAttr(unsigned(index), "llm.name", builder.getStringAttr(argument.first));
    function.setArgAttr(unsigned(index), llm::kDimsAttr, builder.getArrayAttr({builder.getStringAttr(argument.second)}));
    variables_[argument.first] = Operand{{}, entry->getArgument(unsigned(index))};
  }
  builder.setInsertionPointToStart(entry);
}

void ModelBuilder::buildFunction(const FunctionSpec &spec) {
  mlir::OpBuilder &builder = graph_.builder();
  builder.setInsertionPointToEnd(module_.getBody());
  graph_.at(spec.name);
  auto function = mlir::func::FuncOp::create(builder, graph_.location(), spec.name, builder.getFunctionType({}, {}));
  variables_.clear();
  context_.weights.beginFunction();
  context_.isEncoder = spec.name == "encode";
  addArguments(function, {{"token_ids", "tokens"}, {"positions", "tokens"},
                          context_.isEncoder ? std::pair("token_types", "tokens") : std::pair("logit_rows", "rows")});
  context_.positions = variables_["positions"].tensor;
  Status status = runSections(spec);
  context_.problems.absorb(status);
  if (status.ok())
    finishFunction(spec, function);
}

/// Returns what the statements have left in the variable that is the function's result.
void ModelBuilder::finishFunction(const FunctionSpec &spec, mlir::func::FuncOp function) {
  mlir::OpBuilder &builder = graph_.builder();
  const char *resultName = context_.isEncoder ? "last_hidden_state" : "logits";
  Value result = variables_[resultName].tensor;
  if (!result)
    return context_.problems.invalid("invalid description: function '" + spec.name + "' never sets '" + resultName + "'");
  graph_.at(spec.name);
  mlir::func::ReturnOp::create(builder, graph_.location(), result);
  auto inputs = llvm::to_vector(function.getArgumentTypes());
  function.setFunctionType(builder.getFunctionType(inputs, result.getType()));
  function.setResultAttr(0, "llm.name", builder.getStringAttr(resultName));
  if (context_.isEncoder && function.getArgument(2).use_empty()) // token types: only BERT has them
    (void)function.eraseArgument(2);
}

Status ModelBuilder::runSections(const FunctionSpec &spec) {
  for (const Section &section : spec.sections) {
    int64_t count = 1;
    if (section.repeat) {
      LLMOPT_ASSIGN(count, context_.config.integer(section.repeat, 0, kMaxLayers));
    }
    for (int64_t layer = 0; layer < count; ++layer) {
      context_.layer = section.repeat ? layer : -1;
      context_.config.setLayer(context_.layer);
      for (const Statement &statement : section.statements)
        LLMOPT_RETURN_IF_ERROR(run(statement));
    }
    context_.layer = -1;
    context_.config.setLayer(-1);
  }
  return {};
}

/// "model.layers.3", for additions and other operations that have no tensor to be named after.
std::string ModelBuilder::placeName() const {
  if (context_.layer < 0)
    return context_.isEncoder ? "encode" : "step";
  std::string prefix = context_.expand("{layer}");
  while (prefix.ends_with('.'))
    prefix.pop_back();
  return prefix.find('{') == prefix.npos ? prefix : "layer." + std::to_string(context_.layer);
}

Status ModelBuilder::run(const Statement &statement) {
  graph_.at(placeName());
  Result<Operand> value = evaluate(statement.value, *this);
  if (!value) {
    Error error = value.error();
    if (error.code == "E0420" || error.code == "E0421") // about the formula rather than the model
      error.message += " (in \"" + statement.value.text() + "\")";
    return error;
  }
  if (!statement.target.empty())
    variables_[statement.target] = value.take();
  return {};
}

Result<Operand> ModelBuilder::name(const std::string &name) {
  auto it = variables_.find(name);
  return it != variables_.end() ? Result<Operand>(it->second) : context_.config.name(name);
}

/// Tensor with tensor, or tensor with number; multiplying by one and adding zero leave no trace.
Result<Operand> ModelBuilder::arithmetic(const std::string &symbol, const Operand &left, const Operand &right) {
  bool scaling = symbol == "*" || symbol == "/", adding = symbol == "+" || symbol == "-";
  const Json &number = left.isTensor() ? right.json : left.json;
  bool bothTensors = left.isTensor() && right.isTensor();
  if ((!scaling && !adding) || (!bothTensors && !number.isNumber()))
    return badInput("E0421", "tensors can be added, subtracted, multiplied and divided, by tensors and numbers only; found " +
                                 (bothTensors ? "'" + symbol + "'" : number.str()));
  bool numberLast = left.isTensor() || symbol == "*" || symbol == "+";
  if (!bothTensors && numberLast && number.asDouble() == (scaling ? 1.0 : 0.0))
    return left.isTensor() ? left : right;
  Value a = left.isTensor() ? left.tensor : graph_.scalarLike(left.json.asDouble(), right.tensor);
  Value b = right.isTensor() ? right.tensor : graph_.scalarLike(right.json.asDouble(), left.tensor);
  if (!left.isTensor() && numberLast) // the tensor decides the result's shape and stands first
    std::swap(a, b);
  if (symbol == "*")
    return Operand{{}, graph_.binary<llm::MulOp>(a, b)};
  if (symbol == "/")
    return Operand{{}, graph_.binary<llm::DivOp>(a, b)};
  return Operand{{}, symbol == "+" ? graph_.binary<llm::AddOp>(a, b) : graph_.binary<llm::SubOp>(a, b)};
}
