//===- OnnxSuite.cpp - compiles and runs ONNX test folders --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/OnnxSuite.h"

#include "lib/Workbench/IsolatedRun.h"
#include "lib/Workbench/TestData.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/runtime/Engine.h"

#include <algorithm>
#include <filesystem>
#include <regex>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

void readTolerance(const fs::path &folder, double &rtol, double &atol) {
  auto text = readTextFile((folder / "tolerance.json").string());
  if (!text)
    return;
  auto json = Json::parse(*text, "tolerance.json");
  if (!json)
    return;
  if (const Json *value = json->find("rtol"); value && value->isNumber())
    rtol = value->asDouble();
  if (const Json *value = json->find("atol"); value && value->isNumber())
    atol = value->asDouble();
}

std::vector<std::string> namesOf(const std::vector<TensorSpec> &specs) {
  std::vector<std::string> names;
  for (const TensorSpec &spec : specs)
    names.push_back(spec.name);
  return names;
}

/// The package's reference rounds to bf16 after every step, also within sums, and leaves the exact answer by up to 1.7 units in the last
/// place (test/integration/onnx_bf16.py measures that): an answer that was rounded once may be two units from it.
constexpr double kUnitsOfBF16 = 0x1p-6;

/// `note` tells of a difference that only the resolution of bf16 excuses.
Status compareOutput(const Tensor &got, const Tensor &want, double rtol, double atol, const std::string &name, std::string &note) {
  Status status = compareTensors(got, want, rtol, atol, name);
  if (status || want.dtype() != DType::BF16 || rtol >= kUnitsOfBF16)
    return status;
  LLMOPT_RETURN_IF_ERROR(compareTensors(got, want, kUnitsOfBF16, atol, name));
  note = "within two units of bf16: " + status.error().message;
  return {};
}

/// What a model gives for the inputs in a folder.
Result<std::vector<NamedTensor>> runInputs(const Engine &engine, const fs::path &folder) {
  LLMOPT_ASSIGN(std::vector<NamedTensor> inputs, readDataSet(folder, "input"));
  nameByPosition(inputs, namesOf(engine.inputs()));
  return engine.run(inputs);
}

Status runDataSet(const Engine &engine, const fs::path &folder, double rtol, double atol, std::string &note) {
  LLMOPT_ASSIGN(std::vector<NamedTensor> expected, readDataSet(folder, "output"));
  nameByPosition(expected, namesOf(engine.outputs()));
  LLMOPT_ASSIGN(std::vector<NamedTensor> got, runInputs(engine, folder));
  for (const NamedTensor &want : expected) {
    auto it = std::find_if(got.begin(), got.end(), [&](const NamedTensor &tensor) { return tensor.name == want.name; });
    if (it == got.end())
      return verificationFailed("E0503", "the model has no output '" + want.name + "'");
    LLMOPT_RETURN_IF_ERROR(compareOutput(it->tensor, want.tensor, rtol, atol, want.name, note));
  }
  return {};
}

Result<Engine> compileCase(const std::string &folder, const TemporaryArtifact &artifact, const SuiteOptions &options) {
  LLMOPT_ASSIGN(CompileReport report, compileModel(folder + "/model.onnx", artifact.path(), options.compile));
  return Engine::load(artifact.path());
}

constexpr std::string_view kExpanded = "_expanded";

/// Whether the operator and its function's body give the same.
Status comparePair(const Engine &expanded, const std::string &folder, const SuiteOptions &options, double rtol, double atol, std::string &note) {
  std::string plain = folder.substr(0, folder.size() - kExpanded.size());
  TemporaryArtifact artifact;
  Result<Engine> engine = compileCase(plain, artifact, options);
  if (!engine)
    return engine.error().kind == ErrorKind::Unsupported ? Status() : engine.status();
  for (size_t i = 0;; ++i) {
    fs::path set = fs::path(folder) / ("test_data_set_" + std::to_string(i));
    if (!fs::exists(set))
      return {};
    LLMOPT_ASSIGN(std::vector<NamedTensor> got, runInputs(expanded, set));
    LLMOPT_ASSIGN(std::vector<NamedTensor> want, runInputs(*engine, set));
    for (size_t j = 0; j < std::min(got.size(), want.size()); ++j) {
      bool single = want[j].tensor.dtype() == DType::F32;
      LLMOPT_RETURN_IF_ERROR(compareOutput(got[j].tensor, want[j].tensor, single ? 1e-6 : rtol, single ? 1e-6 : atol,
                                            want[j].name + " beside its unexpanded case", note));
    }
  }
}

Status runCase(const std::string &folder, const SuiteOptions &options, std::string &note) {
  TemporaryArtifact artifact;
  LLMOPT_ASSIGN(Engine engine, compileCase(folder, artifact, options));
  double rtol = options.rtol, atol = options.atol;
  readTolerance(folder, rtol, atol);
  for (size_t i = 0;; ++i) {
    fs::path set = fs::path(folder) / ("test_data_set_" + std::to_string(i));
    if (!fs::exists(set))
      break;
    LLMOPT_RETURN_IF_ERROR(runDataSet(engine, set, rtol, atol, note));
  }
  bool isPair = options.pairs && folder.ends_with(kExpanded) &&
                fs::exists(fs::path(folder.substr(0, folder.size() - kExpanded.size())) / "model.onnx");
  return isPair ? comparePair(engine, folder, options, rtol, atol, note) : Status();
}

std::string oneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.size() > 400 ? text.substr(0, 400) + " ..." : text;
}

std::vector<std::string> findCases(const std::vector<std::string> &folders, const std::string &filter) {
  std::vector<std::string> cases;
  std::regex pattern(filter);
  auto add = [&](const fs::path &path) {
    if (fs::exists(path / "model.onnx") && std::regex_search(path.filename().string(), pattern))
      cases.push_back(path.string());
  };
  for (const std::string &folder : folders) {
    add(folder);
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator(folder, ignored))
      if (entry.is_directory())
        add(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

std::string caseName(const std::string &folder) {
  fs::path path(folder);
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

} // namespace

SuiteCase llmopt::runOnnxCase(const std::string &folder, const SuiteOptions &options) {
  SuiteCase result;
  result.name = caseName(folder);
  std::string note;
  Status status = runCase(folder, options, note);
  if (status.ok()) {
    result.outcome = SuiteOutcome::Pass;
    result.reason = oneLine(note);
    return result;
  }
  result.outcome = status.error().kind == ErrorKind::Unsupported ? SuiteOutcome::Unsupported : SuiteOutcome::Fail;
  result.reason = oneLine(status.error().message + (status.error().context.empty() ? "" : " (" + status.error().context + ")"));
  for (const std::string &note : status.error().notes)
    result.reason = oneLine(result.reason + "; " + note);
  return result;
}

Result<std::vector<SuiteCase>> llmopt::runOnnxSuite(const std::vector<std::string> &folders, const SuiteOptions &options,
                                                    const std::function<void(const SuiteCase &)> &onCase) {
  std::vector<std::string> cases = findCases(folders, options.filter);
  if (cases.empty())
    return badInput("E0504", "no folder with a model.onnx found", folders.empty() ? "" : folders.front());
  std::vector<SuiteCase> results(cases.size());
  size_t reported = 0;
  std::vector<bool> finished(cases.size());
  auto work = [&](size_t i) {
    SuiteCase result = runOnnxCase(cases[i], options);
    return std::string(1, char('0' + int(result.outcome))) + result.reason;
  };
  auto done = [&](size_t i, const IsolatedResult &outcome) {
    results[i].name = caseName(cases[i]);
    if (outcome.failure.empty() && !outcome.text.empty()) {
      results[i].outcome = SuiteOutcome(outcome.text[0] - '0');
      results[i].reason = outcome.text.substr(1);
    } else {
      results[i].reason = outcome.failure;
    }
    finished[i] = true;
    for (; reported < cases.size() && finished[reported]; ++reported)
      onCase(results[reported]);
  };
  LLMOPT_RETURN_IF_ERROR(runIsolated(cases.size(), options.jobs, options.secondsPerCase, work, done));
  return results;
}
