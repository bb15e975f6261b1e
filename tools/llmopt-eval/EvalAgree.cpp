//===- EvalAgree.cpp - llmopt-eval agree ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"

#include "llmopt/lib/Workbench/Agreement.h"

#include <cstdio>

using namespace llmopt;
using namespace llmopt::tools;

static Result<std::map<std::string, int64_t>> parseSizes(const std::vector<std::string> &texts) {
  std::map<std::string, int64_t> sizes;
  for (const std::string &text : texts) {
    size_t equals = text.rfind('=');
    char *end = nullptr;
    long long value = equals == std::string::npos ? -1 : std::strtoll(text.c_str() + equals + 1, &end, 10);
    if (value < 0 || !end || *end || end == text.c_str() + equals + 1)
      return usageError("E0302", "--size expects NAME=V with V >= 0, found '" + text + "'");
    sizes[text.substr(0, equals)] = value;
  }
  return sizes;
}

Status AgreeCommand::run() const {
  AgreementOptions options;
  options.compile.targets = {target};
  options.compile.cudaCompiler = cudaCompiler;
  options.compile.architectureFolders = architectures;
  options.levels.clear();
  for (int level : levels)
    options.levels.push_back(OptLevel(level));
  options.testData = testData;
  LLMOPT_ASSIGN(options.sizes, parseSizes(sizes));
  options.seed = seed;
  options.threads = threads;
  options.rtol = rtol;
  options.atol = atol;
  size_t wrong = 0;
  auto onRow = [&](const AgreementRow &row) {
    std::printf("-O%d %s: largest difference %.2g of %.3g%s%s\n", int(row.level), row.name.c_str(), row.difference, row.largest,
                row.status.ok() ? "" : ", ", row.status.ok() ? "" : row.status.error().message.c_str());
    wrong += !row.status.ok();
  };
  LLMOPT_ASSIGN(std::vector<AgreementRow> rows, compareWithInterpreter(model, options, onRow));
  if (wrong)
    return verificationFailed("E0506", std::to_string(wrong) + " of " + std::to_string(rows.size()) + " results differ from the interpreter's", model);
  return {};
}
