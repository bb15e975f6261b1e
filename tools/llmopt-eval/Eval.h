//===- Eval.h - llmopt-eval's subcommands -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPT_EVAL_EVAL_H
#define LLMOPT_TOOLS_LLMOPT_EVAL_EVAL_H

#include "llmopt/runtime/Generator.h"
#include "tools/common/Cli.h"

#include <optional>

namespace llmopt::tools {

struct GenerateCommand {
  LoadFlags load;
  std::string cases;
  size_t batch = 8, show = 3;
  std::optional<size_t> limit;
  Status run() const;
};

struct LogitsCommand {
  LoadFlags load;
  std::string ids, output, mask, tokenTypes, decoderIds;
  size_t batch = 8;
  Status run() const;
};

struct PerplexityCommand {
  LoadFlags load;
  std::string text;
  size_t context = 0, stride = 0;
  bool json = false;
  Status run() const;
};

/// Needs the compiler; a build without it leaves the subcommand out.
struct OnnxSuiteCommand {
  std::vector<std::string> folders;
  std::string filter, target = "native", cudaCompiler = "auto";
  unsigned jobs = 1;
  int level = 3;
  double rtol = 1e-3, atol = 1e-5, timeout = 120;
  bool json = false, pairs = false;
  Status run() const;
};

/// As OnnxSuiteCommand.
struct AgreeCommand {
  std::string model, testData, target = "native", cudaCompiler = "auto";
  std::vector<std::string> sizes, architectures;
  std::vector<int> levels = {0, 3};
  uint32_t seed = 1;
  unsigned threads = 0;
  double rtol = 1e-3, atol = 1e-4;
  Status run() const;
};

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_LLMOPT_EVAL_EVAL_H
