//===- Cli.h - what the runtime's programs have in common -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exit status: 0 ok, 1 bad input, 2 usage, 3 unsupported, 4 limit, 5 verification, 70 internal (lib/Support/Status.h).
// Results go to stdout, everything else to stderr.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_COMMON_CLI_H
#define LLMOPT_TOOLS_COMMON_CLI_H

#include "llmopt/lib/Support/Status.h"

#include "llmopt/runtime/Engine.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace llmopt::tools {

/// Adds --version, parses, runs `work` and turns its status into the exit status. Unknown flags name the nearest one.
int runProgram(CLI::App &app, int argc, char **argv, const std::function<Status()> &work);

/// What is wrong with the arguments, and the nearest flag for one that is not known. Returns the exit status.
int reportUsage(const CLI::App &app, const CLI::ParseError &error);

/// "1 2 3" or "1,2,3".
Result<std::vector<int32_t>> parseIds(const std::string &text, const std::string &context);
/// "name=value" at the first '='; E0201-like usage errors name the flag.
Result<std::pair<std::string, std::string>> splitAssignment(const std::string &text, const std::string &flag);
/// Edits (insert, delete, replace, swap) that make one word the other.
size_t editDistance(std::string_view a, std::string_view b);

/// Adds --threads, --device and --verify, which all programs that load an artifact have.
struct LoadFlags {
  std::string artifact;
  unsigned threads = 0;
  std::string device;
  bool verify = false;
  void add(CLI::App &app);
  EngineOptions options() const { return {.threads = threads, .device = device, .verifyWeights = verify}; }
};

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_COMMON_CLI_H
