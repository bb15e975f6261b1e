//===- RunOptions.h - llmopt-run's flags ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPT_RUN_RUNOPTIONS_H
#define LLMOPT_TOOLS_LLMOPT_RUN_RUNOPTIONS_H

#include "llmopt/runtime/Generator.h"
#include "tools/common/Cli.h"
#include "tools/common/Profile.h"
#include "tools/common/TensorFile.h"

#include <optional>

namespace llmopt::tools {

struct RunOptions {
  LoadFlags load;
  // Text.
  std::optional<std::string> prompt, promptFile, ids;
  size_t maxTokens = 128;
  double temperature = 0, repetitionPenalty = 1;
  std::optional<double> topP, minP;
  std::optional<int64_t> topK;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  bool printIds = false, noEcho = false, ignoreEnd = false, perf = false;
  // Tensors.
  std::vector<std::string> inputs, expected;
  std::string outputFolder, testData;
  double rtol = 1e-3, atol = 1e-5;

  ProfileFlags profile;

  bool wantsTensors() const { return !inputs.empty() || !testData.empty(); }
};

/// Completes a prompt, or token ids.
Status runText(const Engine &engine, const RunOptions &options);
/// Runs a graph on tensors from files.
Status runTensors(const Engine &engine, const RunOptions &options);

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_LLMOPT_RUN_RUNOPTIONS_H
