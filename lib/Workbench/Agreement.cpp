//===- Agreement.cpp - compiled code against the reference interpreter ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/Agreement.h"

#include "lib/Workbench/AgreementRuns.h"
#include "lib/Workbench/TestData.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Support/CompareTensors.h"

#include <cmath>

using namespace llmopt;

namespace {

/// Differences where both are numbers; compareTensors judges.
void measure(const Tensor &got, const Tensor &want, AgreementRow &row) {
  for (int64_t i = 0; i < want.elements(); ++i) {
    double wanted = std::fabs(want.at(i)), difference = i < got.elements() ? std::fabs(got.at(i) - want.at(i)) : 0;
    if (std::isfinite(wanted))
      row.largest = std::max(row.largest, wanted);
    if (std::isfinite(difference))
      row.difference = std::max(row.difference, difference);
  }
}

bool hasNaN(const Tensor &tensor) {
  for (int64_t i = 0; i < tensor.elements(); ++i)
    if (std::isnan(tensor.at(i)))
      return true;
  return false;
}

AgreementRow compare(const NamedTensor &got, const NamedTensor &want, OptLevel level, const AgreementOptions &options) {
  AgreementRow row{.name = want.name, .level = level, .status = {}};
  row.status = hasNaN(want.tensor) ? verificationFailed("E0507", "'" + want.name + "' holds what is not a number; other inputs would tell more")
                                   : compareTensors(got.tensor, want.tensor, options.rtol, options.atol, want.name);
  measure(got.tensor, want.tensor, row);
  return row;
}

} // namespace

Result<std::vector<AgreementRow>> llmopt::compareWithInterpreter(const std::string &model, const AgreementOptions &options,
                                                                 const std::function<void(const AgreementRow &)> &onRow) {
  LLMOPT_ASSIGN(AgreementRuns runs, AgreementRuns::create(model, options));
  LLMOPT_ASSIGN(std::vector<NamedTensor> wanted, runs.onInterpreter());
  std::vector<AgreementRow> rows;
  auto add = [&](const std::vector<NamedTensor> &results, const std::vector<NamedTensor> &expected, OptLevel level) -> Status {
    if (results.size() != expected.size())
      return internalError("E0508", "the artifact gives " + std::to_string(results.size()) + " results, the interpreter " + std::to_string(expected.size()));
    for (size_t i = 0; i < expected.size(); ++i) {
      rows.push_back(compare(results[i], expected[i], level, options));
      onRow(rows.back());
    }
    return {};
  };
  for (OptLevel level : options.levels) {
    TemporaryArtifact artifact;
    CompileOptions compile = options.compile;
    compile.level = level;
    compile.embedTokenizer = false;
    LLMOPT_ASSIGN(CompileReport report, compileModel(model, artifact.path(), compile));
    LLMOPT_ASSIGN(Engine engine, Engine::load(artifact.path(), {.threads = options.threads}));
    LLMOPT_ASSIGN(std::vector<NamedTensor> got, runs.onEngine(engine));
    if (runs.isGraph() && engine.hasStep()) {
      // A decoder that became ragged steps is both; the graph is what its step is held against.
      LLMOPT_ASSIGN(std::vector<NamedTensor> steps, runs.stepsOnInterpreter());
      if (!steps.empty()) {
        LLMOPT_ASSIGN(std::vector<NamedTensor> ragged, runs.stepsOnEngine(engine));
        LLMOPT_RETURN_IF_ERROR(add(ragged, steps, level));
      }
    }
    LLMOPT_RETURN_IF_ERROR(add(got, wanted, level));
  }
  return rows;
}
