//===- hf_interpret.cpp - a Hugging Face folder in the reference interpreter
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// hf_interpret FOLDER --ids=1,2,3[;4,5] --out=logits.npy [--encoder-ids=..] [--architectures=DIR] [--max-positions=N]
//              [--chunk=N] [--greedy=N] [--print] [--metadata]
//
// Imports the folder and writes the logits of every position (encoders: the last hidden state). `;` separates
// sequences of one ragged step; --chunk feeds the ids in pieces of N; --greedy goes on for N tokens and prints them.

#include "llmopt/frontends/HuggingFace.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Support/Npy.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>

using namespace llmopt;

namespace {

using Ids = std::vector<int32_t>;

struct Arguments {
  std::string folder, out;
  std::vector<Ids> sequences, encoderSequences;
  HuggingFaceOptions options;
  size_t chunk = 0;
  int greedy = 0;
  bool print = false, metadata = false;
};

std::vector<Ids> parseSequences(const std::string &text) {
  std::vector<Ids> sequences(1);
  std::string number;
  for (char c : text + ";") {
    if (c != ',' && c != ';') {
      number += c;
      continue;
    }
    if (!number.empty())
      sequences.back().push_back(std::atoi(number.c_str()));
    number.clear();
    if (c == ';')
      sequences.emplace_back();
  }
  sequences.pop_back();
  return sequences;
}

Arguments parse(int argc, char **argv) {
  Arguments result;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i], value = argument.substr(std::min(argument.find('=') + 1, argument.size()));
    auto is = [&](const char *name) { return argument.rfind(name, 0) == 0; };
    if (is("--ids="))
      result.sequences = parseSequences(value);
    else if (is("--encoder-ids="))
      result.encoderSequences = parseSequences(value);
    else if (is("--out="))
      result.out = value;
    else if (is("--architectures="))
      result.options.architectureFolders.push_back(value);
    else if (is("--max-positions="))
      result.options.maxPositions = std::atoll(value.c_str());
    else if (is("--chunk="))
      result.chunk = size_t(std::atoll(value.c_str()));
    else if (is("--greedy="))
      result.greedy = std::atoi(value.c_str());
    else if (is("--print"))
      result.print = true;
    else if (is("--metadata"))
      result.metadata = true;
    else
      result.folder = argument;
  }
  return result;
}

Tensor vectorOf(const Ids &values) {
  Tensor tensor(DType::I32, {int64_t(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<int32_t>());
  return tensor;
}

/// Runs steps on the interpreter and keeps how far each sequence has come.
class Runner {
public:
  explicit Runner(ImportedModel &model) : model_(model), interpreter_(*model.module, model.weights) {}

  Result<Tensor> encode(const std::vector<Ids> &sequences) {
    Ids ids, positions;
    auto step = flatten(sequences, ids, positions, std::vector<int64_t>(sequences.size()));
    std::vector<Tensor> inputs{vectorOf(ids), vectorOf(positions)};
    auto function = model_.module->lookupSymbol("encode");
    if (function->getRegion(0).getNumArguments() == 3)
      inputs.push_back(vectorOf(Ids(ids.size(), 0)));
    return first(interpreter_.run("encode", std::move(inputs), std::move(step)));
  }

  /// Logits of every token of the step.
  Result<Tensor> step(const std::vector<Ids> &sequences) {
    past_.resize(sequences.size());
    Ids ids, positions;
    auto step = flatten(sequences, ids, positions, past_);
    Ids rows(ids.size());
    std::iota(rows.begin(), rows.end(), 0);
    for (size_t i = 0; i < sequences.size(); ++i)
      past_[i] += int64_t(sequences[i].size());
    return first(interpreter_.run("step", {vectorOf(ids), vectorOf(positions), vectorOf(rows)}, std::move(step)));
  }

private:
  static std::vector<InterpreterSequence> flatten(const std::vector<Ids> &sequences, Ids &ids, Ids &positions,
                                                  const std::vector<int64_t> &past) {
    std::vector<InterpreterSequence> step;
    for (size_t i = 0; i < sequences.size(); ++i) {
      ids.insert(ids.end(), sequences[i].begin(), sequences[i].end());
      for (size_t t = 0; t < sequences[i].size(); ++t)
        positions.push_back(int32_t(past[i]) + int32_t(t));
      step.push_back({int64_t(i), int64_t(sequences[i].size())});
    }
    return step;
  }
  static Result<Tensor> first(Result<std::vector<Tensor>> results) {
    if (!results)
      return results.status();
    return std::move((*results)[0]);
  }

  ImportedModel &model_;
  Interpreter interpreter_;
  std::vector<int64_t> past_;
};

int report(const Status &status) {
  std::fprintf(stderr, "%s\n", status.error().str().c_str());
  return int(status.error().kind);
}

int32_t largest(const Tensor &logits) {
  int64_t width = logits.shape()[1], base = (logits.shape()[0] - 1) * width;
  int64_t best = 0;
  for (int64_t i = 1; i < width; ++i)
    if (logits.at(base + i) > logits.at(base + best))
      best = i;
  return int32_t(best);
}

/// Feeds one sequence in pieces; the logits of all pieces, joined.
Result<Tensor> runChunked(Runner &runner, const Ids &ids, size_t chunk) {
  std::vector<float> all;
  int64_t width = 0;
  for (size_t at = 0; at < ids.size(); at += chunk) {
    LLMOPT_ASSIGN(Tensor part, runner.step({Ids(ids.begin() + int64_t(at), ids.begin() + int64_t(std::min(at + chunk, ids.size())))}));
    width = part.shape()[1];
    all.insert(all.end(), part.as<float>(), part.as<float>() + part.elements());
  }
  Tensor result(DType::F32, {int64_t(ids.size()), width});
  std::copy(all.begin(), all.end(), result.as<float>());
  return result;
}

Result<Tensor> run(Runner &runner, const Arguments &arguments, const std::string &kind) {
  if (kind == "encoder")
    return runner.encode(arguments.sequences);
  if (kind == "encoder-decoder") {
    LLMOPT_ASSIGN(Tensor hidden, runner.encode(arguments.encoderSequences));
  }
  if (arguments.chunk > 0)
    return runChunked(runner, arguments.sequences[0], arguments.chunk);
  return runner.step(arguments.sequences);
}

Status continueGreedily(Runner &runner, Tensor logits, int count) {
  for (int i = 0; i < count; ++i) {
    int32_t id = largest(logits);
    std::printf("%d%c", id, i + 1 < count ? ' ' : '\n');
    LLMOPT_ASSIGN(logits, runner.step({Ids{id}}));
  }
  return {};
}

} // namespace

int main(int argc, char **argv) {
  Arguments arguments = parse(argc, argv);
  mlir::MLIRContext context;
  Result<ImportedModel> model = importHuggingFace(context, arguments.folder, arguments.options);
  if (!model)
    return report(model.status());
  for (const std::string &warning : model->warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (arguments.print)
    model->module->print(llvm::outs());
  if (arguments.metadata)
    std::printf("%s\n", model->metadata.str(2).c_str());
  if (arguments.sequences.empty())
    return 0;
  Runner runner(*model);
  Result<Tensor> result = run(runner, arguments, model->metadata.find("kind")->asString());
  if (!result)
    return report(result.status());
  if (Status status = arguments.out.empty() ? Status() : writeNpy(arguments.out, *result); !status)
    return report(status);
  Status status = arguments.greedy ? continueGreedily(runner, result.take(), arguments.greedy) : Status();
  return status ? 0 : report(status);
}
