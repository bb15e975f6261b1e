//===- Profile.h - where the time went --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_COMMON_PROFILE_H
#define LLMOPT_TOOLS_COMMON_PROFILE_H

#include "llmopt/runtime/Engine.h"
#include "tools/common/Cli.h"

namespace llmopt::tools {

/// Adds --profile and --trace.
struct ProfileFlags {
  std::string table; ///< "kernels", "stages", or none
  std::string trace; ///< file for Chrome's trace viewer and Perfetto

  void add(CLI::App &app);
  void begin(const Engine &engine) const;
  /// Prints the table on stderr and writes the trace.
  Status finish(const Engine &engine) const;
};

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_COMMON_PROFILE_H
