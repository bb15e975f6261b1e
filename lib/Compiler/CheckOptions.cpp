//===- CheckOptions.cpp - do the options of a compilation fit together ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/CheckOptions.h"

#include <algorithm>
#include <filesystem>

using namespace llmopt;
namespace fs = std::filesystem;

Result<std::vector<Target>> llmopt::findTargets(std::span<const std::string> names) {
  std::vector<Target> targets;
  for (const std::string &name : names) {
    LLMOPT_ASSIGN(Target target, findTarget(name));
    if (std::ranges::none_of(targets, [&](const Target &other) { return other.name == target.name; }))
      targets.push_back(std::move(target));
  }
  return targets;
}

Status llmopt::checkOptions(const std::string &input, const std::string &output, const CompileOptions &options, std::span<const Target> targets) {
  auto refuse = [&](std::string why) { return usageError("E0321", std::move(why), input); };
  std::string phase(phaseName(options.stopAfter));
  if (targets.empty())
    return refuse("there is no target; name one, or native");
  if (options.terms && *options.terms != 0 && *options.terms != 2 && *options.terms != 3)
    return refuse("CompileOptions::terms is " + std::to_string(*options.terms) + "; numbers in f32 are multiplied as 2 or 3 terms, or as they are with 0");
  if (options.emit != EmitKind::Artifact && options.stopAfter != Phase::Binary)
    return refuse("--emit and --compile-to=" + phase + " ask for different outputs; give one of them");
  bool oneTarget = options.emit != EmitKind::Artifact || options.stopAfter == Phase::Strategy || options.stopAfter == Phase::Lowered;
  if (oneTarget && targets.size() > 1)
    return refuse("code of one target can be shown, and " + std::to_string(targets.size()) + " are given (" + targets[0].name + ", " + targets[1].name +
                  (targets.size() > 2 ? ", ..." : "") + "); name one --target, or see all with --dump-dir");
  if (!options.reportFile.empty() && options.stopAfter != Phase::Binary)
    return refuse("--report is about a whole compilation, and --compile-to=" + phase + " ends before");
  std::error_code missing; // then they differ
  if (!options.dryRun && fs::equivalent(input, output, missing))
    return refuse("the output would take the place of the model; give another name with -o");
  return {};
}
