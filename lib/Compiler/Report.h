//===- Report.h - a compilation as one page ---------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_REPORT_H
#define LLMOPT_LIB_COMPILER_REPORT_H

#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Compiler/Remarks.h"

namespace llmopt {

struct ReportInput {
  std::string input, commandLine, target;
  const Json &metadata;
  const plan::Plan &plan;
  const CompileReport &compile;
  std::span<const CompileRemark> remarks;
  const std::optional<MachineRates> &machine;
};

/// Everything the page shows, also for programs (`--report=out.json`). Sizes in symbols are evaluated for one sequence of 128 tokens.
Json reportData(const ReportInput &input);
/// The page: data, style and script in one file that needs nothing else.
std::string reportPage(const Json &data);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_REPORT_H
