//===- Progress.h - says how far a compilation is ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPT_COMPILE_PROGRESS_H
#define LLMOPT_TOOLS_LLMOPT_COMPILE_PROGRESS_H

#include "llmopt/lib/Compiler/CompileOptions.h"

#include <chrono>
#include <string>

namespace llmopt {

/// One line on standard error: rewritten in place on a terminal, one line a phase elsewhere.
class Progress {
public:
  /// `mode`: auto (terminal or nothing), plain, none.
  explicit Progress(const std::string &mode);
  void update(Phase phase, std::string_view what, size_t done, size_t total);
  /// Leaves the terminal's line clean.
  void finish();

private:
  bool terminal_ = false, plain_ = false;
  Phase last_ = Phase::Binary;
  bool started_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), shown_{};
};

} // namespace llmopt

#endif // LLMOPT_TOOLS_LLMOPT_COMPILE_PROGRESS_H
