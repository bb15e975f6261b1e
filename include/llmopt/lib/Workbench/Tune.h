//===- Tune.h - measures what the cost model guesses ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_TUNE_H
#define LLMOPT_LIB_WORKBENCH_TUNE_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"

#include <string>
#include <vector>

namespace llmopt {

struct TuneOptions {
  unsigned threads = 0;         ///< 0: the cores this process may use
  size_t rounds = 9;            ///< each measures all ways in turns
  double secondsPerSize = 0.5;  ///< more rounds while there is time
};

struct TuneReport {
  size_t measured = 0, known = 0, changed = 0;   ///< kernels and fusions; those in the database before; those where the cost model lost
  std::vector<std::string> skipped;              ///< what could not be measured, and why
};

/// Compiles `input` for this machine, measures every kernel that has other strategies and every fusion that may lose, each by itself on
/// inputs of typical sizes, and adds the fastest to the tuning database `file` (made where there is none). What the database has already
/// is not measured again. E0319: a target that does not run here, or a database of another machine.
Result<TuneReport> tuneModel(const std::string &input, const CompileOptions &compile, const std::string &file, const TuneOptions &options = {});

/// LLMOPT_TUNING_FILE, or tuning-<host>.json in the user's cache folder for llmopt.
std::string tuningFilePath();

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_TUNE_H
