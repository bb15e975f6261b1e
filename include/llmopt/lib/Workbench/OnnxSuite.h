//===- OnnxSuite.h - compiles and runs ONNX test folders -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The layout of ONNX's backend tests: CASE/model.onnx, CASE/test_data_set_N/{input,output}_M.pb, and CASE/tolerance.json
// ({"rtol": .., "atol": ..}) where the case has tolerances of its own.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_ONNXSUITE_H
#define LLMOPT_LIB_WORKBENCH_ONNXSUITE_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"

#include <functional>
#include <string>
#include <vector>

namespace llmopt {

enum class SuiteOutcome { Pass, Fail, Unsupported };

struct SuiteCase {
  std::string name;
  SuiteOutcome outcome = SuiteOutcome::Fail;
  std::string reason; ///< one line; for Pass empty, or what only the resolution of the answer's type excuses
};

struct SuiteOptions {
  CompileOptions compile;
  double rtol = 1e-3, atol = 1e-5; ///< where a case brings none
  std::string filter;              ///< regular expression on case names; empty: all
  unsigned jobs = 1;               ///< cases run at the same time, each in a process of its own
  double secondsPerCase = 120;     ///< a case that takes longer fails
  /// A case NAME_expanded (an operator written as its function's body) must also give what case NAME beside it gives: to 1e-6 in
  /// f32, else to the case's tolerance.
  bool pairs = false;
};

/// Runs every case below the folders (a folder that holds a model.onnx is a case itself), in order of names. A case that
/// crashes or hangs fails and the suite goes on.
Result<std::vector<SuiteCase>> runOnnxSuite(const std::vector<std::string> &folders, const SuiteOptions &options,
                                            const std::function<void(const SuiteCase &)> &onCase);

/// One case in this process.
SuiteCase runOnnxCase(const std::string &folder, const SuiteOptions &options);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_ONNXSUITE_H
