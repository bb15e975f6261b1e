//===- Inspect.h - what llmopt-inspect shows --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads an artifact without mapping any of its code.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPT_INSPECT_INSPECT_H
#define LLMOPT_TOOLS_LLMOPT_INSPECT_INSPECT_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/Plan.h"

namespace llmopt::tools {

/// An artifact and the plan of each of its targets.
struct Inspected {
  Artifact artifact;
  std::vector<std::pair<std::string, plan::Plan>> plans;
  static Result<Inspected> read(const std::string &path);
};

// Each gives what it knows as JSON; the printers below write that for people.
Json summaryJson(const Inspected &inspected);
Json weightsJson(const Inspected &inspected);
Json stagesJson(const Inspected &inspected);
/// Of each GPU target.
Result<Json> kernelsJson(const Inspected &inspected, int64_t tokens);

void printSummary(const Json &summary);
void printWeights(const Json &weights);
void printStages(const Json &stages);
void printKernels(const Json &targets);

/// "1.2 MiB"
std::string sizeText(double bytes);

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_LLMOPT_INSPECT_INSPECT_H
