//===- Differential.h - one model at several levels ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_DIFFERENTIAL_H
#define LLMOPT_LIB_WORKBENCH_DIFFERENTIAL_H

#include "llmopt/lib/Support/Status.h"

#include <functional>
#include <string>
#include <vector>

namespace llmopt {

struct DifferentialOptions {
  bool interpreter = true; ///< compare with the reference interpreter as well (slow for large models)
  double tolerance = 1e-3; ///< of the difference's norm against the values'
  double seconds = 120;    ///< a crash or a loop is found by running in a process of its own
};

/// Compiles a graph (model.onnx, or model.mlir of the llm dialect) at -O0 and -O3, runs both on the same sample inputs, and compares.
/// E0511: the levels differ. E0512: -O0 and the interpreter differ. E0513: crashed, or took too long. E0514: no sample suits the graph
/// (the reference overflows, or its results are rounding alone). Errors of compiling and running are given as they are.
Status compareLevels(const std::string &path, const DifferentialOptions &options);
/// The same for many graphs, `jobs` processes at a time.
Result<std::vector<Status>> compareLevels(const std::vector<std::string> &paths, const DifferentialOptions &options, unsigned jobs);

/// Whether a candidate still shows the failure that is looked for.
using StillFails = std::function<bool(const std::string &path)>;

/// Makes the graph of `path` smaller while `fails` holds: fewer results, operations replaced by inputs, operations left out, smaller
/// sizes. The smallest goes to `output`: an ONNX file where `path` is one, unless `output` ends in ".mlir"; then, or where `path` is such, a
/// module of the llm dialect. The smallest so far is always there. E0515 where even the whole does not fail.
Status reduceModel(const std::string &path, const std::string &output, const StillFails &fails,
                   const std::function<void(size_t operations)> &progress);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_DIFFERENTIAL_H
