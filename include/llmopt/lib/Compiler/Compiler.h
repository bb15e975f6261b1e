//===- Compiler.h - model in, artifact out --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_COMPILER_H
#define LLMOPT_LIB_COMPILER_COMPILER_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"

namespace llmopt {

/// What a compilation did, for the user.
struct CompileReport {
  std::string output;                 ///< file written; empty with dryRun
  uint64_t outputBytes = 0;
  uint64_t weightBytes = 0;
  size_t stages = 0;                  ///< launches of the largest entry point
  size_t kernels = 0;                 ///< different kernels
  std::vector<std::string> warnings;
  std::vector<std::pair<std::string, double>> phaseSeconds;
  std::vector<std::pair<std::string, double>> passSeconds; ///< by pass, in order of first use
};

/// Compiles `input` (model.onnx, Hugging Face folder, or model.mlir) to `output`. Nothing is written on failure.
Result<CompileReport> compileModel(const std::string &input, const std::string &output, const CompileOptions &options);

/// Loads a shared library with fusions (include/llmopt/passes/Plugin.h); they take part in every later compilation of this process.
Status loadPassPlugin(const std::string &path);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_COMPILER_H
