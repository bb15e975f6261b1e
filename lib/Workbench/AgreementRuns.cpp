//===- AgreementRuns.cpp - the same inputs for interpreter and engine -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/AgreementRuns.h"

#include "lib/Workbench/TestData.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Compiler/ImportModel.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "runtime/core/TensorAxis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <algorithm>
#include <numeric>
#include <random>

using namespace llmopt;

static Tensor vectorOf(const std::vector<int32_t> &values) {
  Tensor tensor(DType::I32, {int64_t(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<int32_t>());
  return tensor;
}

Result<AgreementRuns> AgreementRuns::create(const std::string &model, const AgreementOptions &options) {
  AgreementRuns runs;
  runs.context_ = std::make_unique<mlir::MLIRContext>();
  CompileOptions import = options.compile;
  import.embedTokenizer = false;
  LLMOPT_ASSIGN(CompilerInput imported, importModel(*runs.context_, model, import));
  runs.model_ = std::make_unique<ImportedModel>(std::move(imported.model));
  LLMOPT_RETURN_IF_ERROR(runs.has("main") ? runs.makeInputs(options) : runs.makeSteps(options));
  if (runs.has("main") && runs.model_->metadata.find("io"))
    (void)runs.makeSteps(options); // none for a short context
  return runs;
}

//===----------------------------------------------------------------------===//
// Ragged steps
//===----------------------------------------------------------------------===//

Status AgreementRuns::makeSteps(const AgreementOptions &options) {
  const Json *vocabulary = model_->metadata.find("vocab_size"), *positions = model_->metadata.find("max_positions");
  int64_t limit = positions && positions->isInt() ? positions->asInt() : INT64_MAX;
  if (limit < 16)
    return unsupported("E0509", "the model's context is " + std::to_string(limit) + " tokens; the comparison takes 16");
  std::mt19937 random(options.seed);
  std::uniform_int_distribution<int32_t> token(0, vocabulary && vocabulary->isInt() ? int32_t(vocabulary->asInt()) - 1 : 1);
  auto draw = [&](size_t count) {
    Tokens tokens(count);
    for (int32_t &one : tokens)
      one = token(random);
    return tokens;
  };
  if (has("encode"))
    ragged_.sources = {draw(11), draw(3)};
  const size_t counts[][2] = {{9, 2}, {1, 1}, {0, 5}, {3, 1}};
  for (auto [first, second] : counts)
    if (has("step") || has("main"))
      ragged_.steps.push_back({{draw(first), draw(second)},
                               "step " + std::to_string(ragged_.steps.size() + 1) + ": " + std::to_string(first) + " + " + std::to_string(second) + " tokens"});
  return {};
}

Result<Tensor> AgreementRuns::interpretStep(Interpreter &interpreter, const std::string &function, const Step &step, std::vector<int64_t> &past) {
  std::vector<InterpreterSequence> sequences;
  Tokens ids, positions;
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    if (step.tokens[i].empty())
      continue;
    sequences.push_back({int64_t(i), int64_t(step.tokens[i].size())});
    for (int32_t token : step.tokens[i]) {
      ids.push_back(token);
      positions.push_back(int32_t(past[i]++));
    }
  }
  Tokens third(ids.size(), 0); // token types
  if (function == "step")      // rows to give logits of
    std::iota(third.begin(), third.end(), 0);
  std::vector<Tensor> inputs;
  inputs.push_back(vectorOf(ids));
  inputs.push_back(vectorOf(positions));
  if (model_->module->lookupSymbol<mlir::func::FuncOp>(function).getNumArguments() == 3)
    inputs.push_back(vectorOf(third));
  LLMOPT_ASSIGN(std::vector<Tensor> results, interpreter.run(function, std::move(inputs), std::move(sequences)));
  return results.empty() ? Tensor() : std::move(results.front());
}

static Tensor toTensor(const StepOutput &output) {
  Tensor tensor(DType::F32, {int64_t(output.rows()), int64_t(output.width())});
  std::ranges::copy(output.all(), tensor.as<float>());
  return tensor;
}

static Result<std::vector<NamedTensor>> runSteps(const Engine &engine, std::span<const std::vector<int32_t>> sources, auto &steps) {
  std::vector<NamedTensor> results;
  std::vector<Sequence> sequences;
  for (int i = 0; i < 2; ++i)
    sequences.push_back(engine.newSequence());
  StepOutput output;
  if (!sources.empty()) {
    std::vector<EncodeInput> inputs{{&sequences[0], sources[0]}, {&sequences[1], sources[1]}};
    LLMOPT_RETURN_IF_ERROR(engine.encode(inputs, engine.hasStep() ? nullptr : &output));
    if (!engine.hasStep())
      results.push_back({"encode", toTensor(output)});
  }
  for (const auto &step : steps) {
    std::vector<SequenceInput> inputs;
    for (size_t i = 0; i < sequences.size(); ++i)
      if (!step.tokens[i].empty())
        inputs.push_back({&sequences[i], step.tokens[i], LogitRows::All});
    LLMOPT_RETURN_IF_ERROR(engine.step(inputs, output));
    results.push_back({step.name, toTensor(output)});
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

namespace {

/// Numbers for an input of a graph: masks see everything, positions count, ids and segments are small, the rest is random.
class InputMaker {
public:
  InputMaker(uint32_t seed, int64_t vocabulary) : random_(seed), vocabulary_(vocabulary) {}

  Tensor make(const std::string &name, DType type, const std::vector<int64_t> &shape) {
    Tensor tensor(type, shape);
    for (size_t i = 0; i < size_t(tensor.elements()); ++i) {
      if (isFloat(type))
        setFloat(tensor, i, normal_(random_));
      else
        setElement(tensor, i, integer(name, type, shape.empty() ? 0 : int64_t(i) % shape.back()));
    }
    return tensor;
  }

private:
  int64_t integer(llvm::StringRef name, DType type, int64_t column) {
    if (type == DType::Bool || name.contains_insensitive("mask"))
      return 1;
    if (name.contains_insensitive("position"))
      return column;
    bool segment = name.contains_insensitive("type") || name.contains_insensitive("segment");
    return int64_t(random_() % uint64_t(segment ? 2 : vocabulary_));
  }
  static void setFloat(Tensor &tensor, size_t i, float value) {
    switch (tensor.dtype()) {
    case DType::F64:
      tensor.as<double>()[i] = value;
      break;
    case DType::F16:
      tensor.as<uint16_t>()[i] = floatToF16(value);
      break;
    case DType::BF16:
      tensor.as<uint16_t>()[i] = floatToBf16(value);
      break;
    default:
      tensor.as<float>()[i] = value;
    }
  }

  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  int64_t vocabulary_;
};

/// Values for the symbols of a graph's inputs: a batch of 2, 4 positions before, small odd numbers for the rest.
class Sizes {
public:
  explicit Sizes(const std::map<std::string, int64_t> &given) : values_(given.begin(), given.end()) {}

  void visit(const SymExpr::Node *node) {
    if (node->op == SymExpr::Node::Op::Symbol)
      values_.try_emplace(node->name, contains(node->name, "batch") ? 2 : contains(node->name, "past") ? 4 : 2 * int64_t(++others_) + 1);
    for (const SymExpr::Node *operand : node->operands)
      visit(operand);
  }
  const std::map<std::string, int64_t, std::less<>> &values() const { return values_; }

private:
  static bool contains(llvm::StringRef name, llvm::StringRef part) { return name.contains_insensitive(part); }
  std::map<std::string, int64_t, std::less<>> values_;
  size_t others_ = 0;
};

} // namespace

static std::vector<std::string> namesOf(mlir::func::FuncOp function, bool results) {
  std::vector<std::string> names;
  for (unsigned i = 0, count = results ? function.getNumResults() : function.getNumArguments(); i < count; ++i) {
    auto name = results ? function.getResultAttrOfType<mlir::StringAttr>(i, "llm.name") : function.getArgAttrOfType<mlir::StringAttr>(i, "llm.name");
    names.push_back(name ? name.str() : (results ? "output_" : "input_") + std::to_string(i)); // as the plan names them
  }
  return names;
}

Status AgreementRuns::makeInputs(const AgreementOptions &options) {
  auto function = model_->module->lookupSymbol<mlir::func::FuncOp>("main");
  std::vector<std::string> names = namesOf(function, false);
  outputNames_ = namesOf(function, true);
  if (!options.testData.empty()) {
    LLMOPT_ASSIGN(inputs_, readDataSet(options.testData, "input"));
    nameByPosition(inputs_, names);
    auto place = [&](const NamedTensor &tensor) { return std::find(names.begin(), names.end(), tensor.name); };
    std::ranges::sort(inputs_, [&](const NamedTensor &a, const NamedTensor &b) { return place(a) < place(b); });
    return {};
  }
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  Sizes sizes(options.sizes);
  for (mlir::BlockArgument argument : function.getArguments())
    for (SymExpr dim : shapes.shapeOf(argument).dims)
      sizes.visit(dim.node());
  const Json *vocabulary = model_->metadata.find("vocab_size");
  InputMaker maker(options.seed, vocabulary && vocabulary->isInt() ? vocabulary->asInt() : 10);
  for (mlir::BlockArgument argument : function.getArguments()) {
    std::vector<int64_t> shape;
    for (SymExpr dim : shapes.shapeOf(argument).dims)
      shape.push_back(*symbols.evaluate(dim, sizes.values()));
    DType type = *llm::dtypeOf(mlir::cast<mlir::RankedTensorType>(argument.getType()).getElementType());
    const std::string &name = names[argument.getArgNumber()];
    inputs_.push_back({name, maker.make(name, type, std::move(shape))});
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Both ways
//===----------------------------------------------------------------------===//

Result<std::vector<NamedTensor>> AgreementRuns::onInterpreter() {
  Interpreter interpreter(*model_->module, model_->weights);
  std::vector<NamedTensor> results;
  if (has("main")) {
    std::vector<Tensor> inputs;
    for (const NamedTensor &input : inputs_)
      inputs.push_back(input.tensor);
    LLMOPT_ASSIGN(std::vector<Tensor> tensors, interpreter.run("main", std::move(inputs)));
    for (size_t i = 0; i < tensors.size(); ++i)
      results.push_back({outputNames_[i], std::move(tensors[i])});
    return results;
  }
  std::vector<int64_t> past(2);
  if (!ragged_.sources.empty()) {
    LLMOPT_ASSIGN(Tensor hidden, interpretStep(interpreter, "encode", {ragged_.sources, ""}, past));
    if (ragged_.steps.empty())
      results.push_back({"encode", std::move(hidden)});
    past.assign(2, 0);
  }
  for (const Step &step : ragged_.steps) {
    LLMOPT_ASSIGN(Tensor logits, interpretStep(interpreter, "step", step, past));
    results.push_back({step.name, std::move(logits)});
  }
  return results;
}

Result<std::vector<NamedTensor>> AgreementRuns::onEngine(const Engine &engine) const {
  return engine.hasGraph() ? engine.run(inputs_) : runSteps(engine, ragged_.sources, ragged_.steps);
}

Result<std::vector<NamedTensor>> AgreementRuns::stepsOnEngine(const Engine &engine) const { return runSteps(engine, {}, ragged_.steps); }
