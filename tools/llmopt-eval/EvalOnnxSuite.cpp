//===- EvalOnnxSuite.cpp - llmopt-eval onnx-suite -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Workbench/OnnxSuite.h"

#include <cstdio>

using namespace llmopt;
using namespace llmopt::tools;

static const char *outcomeName(SuiteOutcome outcome) {
  return outcome == SuiteOutcome::Pass ? "PASS" : outcome == SuiteOutcome::Fail ? "FAIL" : "UNSUPPORTED";
}

Status OnnxSuiteCommand::run() const {
  SuiteOptions options;
  options.compile.level = OptLevel(level);
  options.compile.targets = {target};
  options.compile.cudaCompiler = cudaCompiler;
  options.rtol = rtol;
  options.atol = atol;
  options.filter = filter;
  options.jobs = jobs;
  options.pairs = pairs;
  options.secondsPerCase = timeout;
  size_t counts[3] = {};
  Json rows{Json::Array{}};
  auto onCase = [&](const SuiteCase &result) {
    ++counts[size_t(result.outcome)];
    if (json) {
      rows.push(Json::Object{{"name", result.name}, {"outcome", outcomeName(result.outcome)}, {"reason", result.reason}});
      return;
    }
    std::printf("%s %s%s%s\n", result.name.c_str(), outcomeName(result.outcome), result.reason.empty() ? "" : " ", result.reason.c_str());
    std::fflush(stdout);
  };
  LLMOPT_ASSIGN(std::vector<SuiteCase> results, runOnnxSuite(folders, options, onCase));
  if (json) {
    Json report;
    report.set("cases", rows);
    report.set("pass", int64_t(counts[0]));
    report.set("fail", int64_t(counts[1]));
    report.set("unsupported", int64_t(counts[2]));
    std::printf("%s\n", report.str(1).c_str());
  } else {
    std::printf("%zu cases: %zu PASS, %zu FAIL, %zu UNSUPPORTED\n", results.size(), counts[0], counts[1], counts[2]);
  }
  if (counts[1])
    return verificationFailed("E0506", std::to_string(counts[1]) + " of " + std::to_string(results.size()) + " cases failed");
  return {};
}
