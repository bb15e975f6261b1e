//===- Differential.cpp - one model at several levels ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/Differential.h"

#include "lib/Workbench/GraphFile.h"
#include "lib/Workbench/IsolatedRun.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/frontends/Onnx.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Interpreter/Samples.h"
#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/ScratchFolder.h"
#include "llmopt/runtime/Engine.h"

#include "mlir/Parser/Parser.h"

#include <cmath>
#include <filesystem>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

Result<GraphFile> llmopt::readGraphFile(const std::string &path) {
  GraphFile graph;
  graph.context = std::make_unique<mlir::MLIRContext>();
  graph.context->disableMultithreading();
  graph.context->loadDialect<llm::LLMDialect, exec::ExecDialect, mlir::func::FuncDialect>();
  if (fs::path(path).extension() == ".mlir") {
    graph.module = mlir::parseSourceFile<mlir::ModuleOp>(path, graph.context.get());
    if (!graph.module)
      return badInput("E0312", "not valid MLIR of the llm dialect", path);
  } else {
    LLMOPT_ASSIGN(ImportedModel model, importOnnx(*graph.context, path));
    graph.module = std::move(model.module);
    graph.weights = std::move(model.weights);
  }
  if (!graph.main())
    return unsupported("E0516", "the model has no graph of its own ('main'); differential runs take graphs, not ragged decoders", path);
  return graph;
}

namespace {

std::vector<NamedTensor> named(mlir::func::FuncOp function, const std::vector<Tensor> &tensors) {
  std::vector<NamedTensor> result;
  for (auto [i, tensor] : llvm::enumerate(tensors)) {
    auto name = function.getArgAttrOfType<mlir::StringAttr>(unsigned(i), "llm.name");
    result.push_back({name ? name.str() : "arg" + std::to_string(i), tensor});
  }
  return result;
}

bool allFinite(const std::vector<Tensor> &tensors) {
  for (const Tensor &tensor : tensors)
    for (int64_t i = 0; i < tensor.elements(); ++i)
      if (!std::isfinite(tensor.at(i)))
        return false;
  return true;
}

Result<std::vector<NamedTensor>> runAt(OptLevel level, const std::string &path, std::span<const NamedTensor> inputs) {
  fs::path artifact = fs::path(temporaryFolder()) / ("llmopt-levels-" + std::to_string(getpid()) + ".llmopt");
  CompileOptions options;
  options.level = level;
  options.embedTokenizer = false;
  Result<CompileReport> report = compileModel(path, artifact.string(), options);
  if (!report)
    return report.status();
  Result<Engine> engine = Engine::load(artifact.string(), {.threads = 2});
  std::error_code ignored;
  fs::remove(artifact, ignored); // the mapping stays
  if (!engine)
    return engine.status();
  return engine->run(inputs);
}

/// `other` differs from `base` under this code.
Status compareAll(const std::vector<NamedTensor> &other, const std::vector<NamedTensor> &base, double tolerance, std::string_view code,
                  const std::string &which) {
  for (size_t i = 0; i < base.size(); ++i)
    if (Status same = compareTensorsByNorm(other[i].tensor, base[i].tensor, tolerance, base[i].name); !same)
      return verificationFailed(code, which + ": " + same.error().message);
  return {};
}

/// Inputs that differ in their last digits.
std::vector<Tensor> nudged(std::vector<Tensor> tensors) {
  for (Tensor &tensor : tensors)
    if (tensor.dtype() == DType::F32)
      for (int64_t i = 0; i < tensor.elements(); ++i)
        for (int64_t steps = 1 + i % 3; steps > 0; --steps) // odd and even ones: rounding may depend on the last bit
          tensor.as<float>()[i] = std::nextafter(tensor.as<float>()[i], i % 2 ? INFINITY : -INFINITY);
  return tensors;
}

/// A graph like (x + 0.5) - x under a norm has results that are rounding and nothing else: they say nothing about a compiler.
bool isNoise(GraphFile &graph, const std::vector<Tensor> &samples, const std::vector<NamedTensor> &reference, double tolerance) {
  auto other = Interpreter(*graph.module, graph.weights).run("main", nudged(samples));
  for (size_t i = 0; other && i < reference.size(); ++i)
    if (!compareTensorsByNorm((*other)[i], reference[i].tensor, std::max(tolerance / 4, 1e-4), reference[i].name))
      return true;
  return false;
}

Status compareHere(const std::string &path, const DifferentialOptions &options) {
  LLMOPT_ASSIGN(GraphFile graph, readGraphFile(path));
  Status unsuited = unsupported("E0514", "no sample suits the graph", path);
  bool compared = false;
  for (SampleKind kind : {SampleKind::Normal, SampleKind::Positive}) {
    auto samples = sampleInputs(graph.main(), 11, kind);
    if (!samples)
      return unsuited;
    std::vector<NamedTensor> inputs = named(graph.main(), *samples), reference;
    if (options.interpreter) {
      auto want = Interpreter(*graph.module, graph.weights).run("main", *samples);
      if (!want)
        return want.status();
      if (!allFinite(*want))
        continue; // what overflows says nothing
      for (Tensor &tensor : *want)
        reference.push_back({"result " + std::to_string(reference.size()), std::move(tensor)});
    }
    LLMOPT_ASSIGN(std::vector<NamedTensor> plain, runAt(OptLevel::O0, path, inputs));
    LLMOPT_ASSIGN(std::vector<NamedTensor> best, runAt(OptLevel::O3, path, inputs));
    Status same = compareAll(plain, reference, options.tolerance, "E0512", "-O0 against the interpreter");
    if (same)
      same = compareAll(best, plain, options.tolerance, "E0511", "-O3 against -O0");
    if (!same)
      return isNoise(graph, *samples, reference, options.tolerance) ? unsuited : same;
    compared = true;
    break; // one good sample
  }
  return compared ? Status() : unsuited;
}

} // namespace

/// A status crosses the process boundary as "kind code message".
static std::string encode(const Status &status) {
  return status.ok() ? "ok" : std::to_string(int(status.error().kind)) + " " + status.error().code + " " + status.error().message;
}

static Status decode(const std::string &text, const std::string &path) {
  if (text == "ok")
    return {};
  size_t first = text.find(' '), second = text.find(' ', first + 1);
  Error error;
  error.kind = ErrorKind(std::stoi(text.substr(0, first)));
  error.code = text.substr(first + 1, second - first - 1);
  error.message = text.substr(second + 1);
  error.context = path;
  return Status(error);
}

Status llmopt::compareLevels(const std::string &path, const DifferentialOptions &options) {
  Status result;
  auto done = [&](size_t, const IsolatedResult &outcome) {
    result = outcome.failure.empty() ? decode(outcome.text, path) : verificationFailed("E0513", outcome.failure, path);
  };
  LLMOPT_RETURN_IF_ERROR(runIsolated(1, 1, options.seconds, [&](size_t) { return encode(compareHere(path, options)); }, done));
  return result;
}

Result<std::vector<Status>> llmopt::compareLevels(const std::vector<std::string> &paths, const DifferentialOptions &options, unsigned jobs) {
  // Most graphs are alike: a process takes many, and only those of one that ended by itself are tried one by one.
  constexpr size_t kBatch = 20;
  std::vector<Status> results(paths.size());
  std::vector<size_t> again;
  auto end = [&](size_t batch) { return std::min(paths.size(), (batch + 1) * kBatch); };
  auto work = [&](size_t batch) {
    Json::Array texts;
    for (size_t i = batch * kBatch; i < end(batch); ++i)
      texts.push_back(encode(compareHere(paths[i], options)));
    return Json(texts).str();
  };
  auto done = [&](size_t batch, const IsolatedResult &outcome) {
    Result<Json> texts = Json::parse(outcome.text, "results");
    bool whole = outcome.failure.empty() && texts && texts->isArray() && texts->asArray().size() == end(batch) - batch * kBatch;
    for (size_t i = batch * kBatch; i < end(batch); ++i)
      if (whole)
        results[i] = decode(texts->asArray()[i - batch * kBatch].asString(), paths[i]);
      else
        again.push_back(i);
  };
  LLMOPT_RETURN_IF_ERROR(runIsolated((paths.size() + kBatch - 1) / kBatch, jobs, options.seconds * kBatch, work, done));
  for (size_t i : again)
    results[i] = compareLevels(paths[i], options);
  return results;
}
