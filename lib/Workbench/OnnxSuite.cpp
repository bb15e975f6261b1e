//===- OnnxSuite.cpp - compiles and runs ONNX test folders --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/OnnxSuite.h"

#include "lib/Workbench/IsolatedRun.h"
#include "llmopt/lib/Support/TensorProto.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/runtime/Engine.h"

#include <algorithm>
#include <filesystem>
#include <regex>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

/// A path for the case's artifact, removed at the end.
class TemporaryArtifact {
public:
  TemporaryArtifact() : path_(fs::temp_directory_path() / ("llmopt-case-" + std::to_string(getpid()) + ".llmopt")) {}
  ~TemporaryArtifact() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  std::string path() const { return path_.string(); }

private:
  fs::path path_;
};

/// input_0.pb, input_1.pb, ... of a data set.
Result<std::vector<NamedTensor>> readTensors(const fs::path &folder, const std::string &prefix) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0;; ++i) {
    fs::path path = folder / (prefix + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(path))
      return tensors;
    LLMOPT_ASSIGN(ProtoTensor proto, readTensorProto(path.string()));
    tensors.push_back({proto.name, std::move(proto.tensor)});
  }
}

/// The suite names its inputs by position; some files carry the graph's names instead.
void nameByPosition(std::vector<NamedTensor> &tensors, const std::vector<TensorSpec> &specs) {
  auto known = [&](const NamedTensor &tensor) {
    return std::any_of(specs.begin(), specs.end(), [&](const TensorSpec &spec) { return spec.name == tensor.name; });
  };
  if (std::all_of(tensors.begin(), tensors.end(), known))
    return;
  for (size_t i = 0; i < tensors.size() && i < specs.size(); ++i)
    tensors[i].name = specs[i].name;
}

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

Status runDataSet(const Engine &engine, const fs::path &folder, double rtol, double atol) {
  LLMOPT_ASSIGN(std::vector<NamedTensor> inputs, readTensors(folder, "input"));
  LLMOPT_ASSIGN(std::vector<NamedTensor> expected, readTensors(folder, "output"));
  nameByPosition(inputs, engine.inputs());
  nameByPosition(expected, engine.outputs());
  LLMOPT_ASSIGN(std::vector<NamedTensor> got, engine.run(inputs));
  for (const NamedTensor &want : expected) {
    auto it = std::find_if(got.begin(), got.end(), [&](const NamedTensor &tensor) { return tensor.name == want.name; });
    if (it == got.end())
      return verificationFailed("E0503", "the model has no output '" + want.name + "'");
    LLMOPT_RETURN_IF_ERROR(compareTensors(it->tensor, want.tensor, rtol, atol, want.name));
  }
  return {};
}

Status runCase(const std::string &folder, const SuiteOptions &options) {
  TemporaryArtifact artifact;
  LLMOPT_ASSIGN(CompileReport report, compileModel(folder + "/model.onnx", artifact.path(), options.compile));
  LLMOPT_ASSIGN(Engine engine, Engine::load(artifact.path()));
  double rtol = options.rtol, atol = options.atol;
  readTolerance(folder, rtol, atol);
  for (size_t i = 0;; ++i) {
    fs::path set = fs::path(folder) / ("test_data_set_" + std::to_string(i));
    if (!fs::exists(set))
      return {};
    LLMOPT_RETURN_IF_ERROR(runDataSet(engine, set, rtol, atol));
  }
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
  Status status = runCase(folder, options);
  if (status.ok()) {
    result.outcome = SuiteOutcome::Pass;
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
