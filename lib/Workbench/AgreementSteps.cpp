//===- AgreementSteps.cpp - a graph's ragged step against the graph itself --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A padded decoder that became ragged steps has to give each sequence what the graph gives it alone, without padding and with its cache
// fed back.
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/AgreementRuns.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Artifact/ModelInfo.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "runtime/core/TensorAxis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace llmopt;

namespace {

/// One sequence alone in the graph.
struct Alone {
  std::map<std::string, Tensor> past; ///< by the input's name
  int64_t length = 0;
};

Tensor filled(DType type, std::vector<int64_t> shape, llvm::function_ref<double(int64_t)> at) {
  Tensor tensor(type, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (type == DType::F32)
      tensor.as<float>()[i] = float(at(i));
    else
      setElement(tensor, size_t(i), int64_t(at(i)));
  }
  return tensor;
}

/// A cache of no tokens: its batch is 1, and its other size that is not known is 0. Nothing for another form.
std::optional<Tensor> emptyCache(mlir::RankedTensorType type, DType dtype) {
  std::vector<int64_t> shape(type.getShape().begin(), type.getShape().end());
  if (shape.size() != 4 || (!type.isDynamicDim(0) && shape[0] != 1) || !type.isDynamicDim(2) || type.isDynamicDim(1) || type.isDynamicDim(3))
    return std::nullopt;
  shape[0] = 1;
  shape[2] = 0;
  return Tensor(dtype, std::move(shape));
}

/// Runs `tokens` of one sequence; its logits [1, tokens, vocabulary], or nothing where the graph has inputs that nobody knows.
Result<std::optional<Tensor>> runAlone(Interpreter &interpreter, mlir::func::FuncOp main, const DecoderIo &io, const std::vector<int32_t> &tokens,
                                       Alone &alone) {
  int64_t count = int64_t(tokens.size());
  std::vector<Tensor> inputs;
  for (mlir::BlockArgument argument : main.getArguments()) {
    auto attribute = main.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), "llm.name");
    std::string name = attribute ? attribute.str() : "";
    auto type = mlir::cast<mlir::RankedTensorType>(argument.getType());
    DType dtype = *llm::dtypeOf(type.getElementType());
    if (auto past = alone.past.find(name); past != alone.past.end()) {
      inputs.push_back(past->second);
      continue;
    }
    bool isPast = std::ranges::any_of(io.past, [&](const auto &pair) { return pair.first == name; });
    auto cache = isPast ? emptyCache(type, dtype) : std::nullopt;
    if (name == io.inputIds)
      inputs.push_back(filled(dtype, {1, count}, [&](int64_t i) { return tokens[size_t(i)]; }));
    else if (name == io.attentionMask)
      inputs.push_back(filled(dtype, {1, alone.length + count}, [](int64_t) { return 1; }));
    else if (name == io.positionIds)
      inputs.push_back(filled(dtype, {1, count}, [&](int64_t i) { return double(alone.length + i); }));
    else if (cache)
      inputs.push_back(std::move(*cache));
    else
      return std::optional<Tensor>();
  }
  LLMOPT_ASSIGN(std::vector<Tensor> results, interpreter.run("main", std::move(inputs)));
  std::optional<Tensor> logits;
  for (size_t i = 0; i < results.size(); ++i) {
    auto name = main.getResultAttrOfType<mlir::StringAttr>(unsigned(i), "llm.name");
    for (const auto &[input, output] : io.past)
      if (name && output == name.str())
        alone.past[input] = results[i];
    if (name && name.str() == io.logits)
      logits = std::move(results[i]);
  }
  alone.length += count;
  return logits;
}

} // namespace

Result<std::vector<NamedTensor>> AgreementRuns::stepsOnInterpreter() {
  std::vector<NamedTensor> wanted;
  LLMOPT_ASSIGN(ModelInfo info, readModelInfo(model_->metadata, "the model"));
  if (!info.io)
    return wanted;
  auto main = model_->module->lookupSymbol<mlir::func::FuncOp>("main");
  Interpreter interpreter(*model_->module, model_->weights);
  std::vector<Alone> sequences(2);
  for (const Step &step : ragged_.steps) {
    std::vector<float> rows;
    int64_t width = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (step.tokens[i].empty())
        continue;
      LLMOPT_ASSIGN(std::optional<Tensor> logits, runAlone(interpreter, main, *info.io, step.tokens[i], sequences[i]));
      if (!logits || logits->shape().size() != 3 || logits->shape()[1] != int64_t(step.tokens[i].size()))
        return std::vector<NamedTensor>();
      width = logits->shape()[2];
      for (int64_t k = 0; k < logits->elements(); ++k)
        rows.push_back(float(logits->at(k)));
    }
    Tensor tensor(DType::F32, {int64_t(rows.size()) / width, width});
    std::ranges::copy(rows, tensor.as<float>());
    wanted.push_back({step.name, std::move(tensor)});
  }
  return wanted;
}
