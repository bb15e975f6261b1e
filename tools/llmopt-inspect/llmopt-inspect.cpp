//===- llmopt-inspect.cpp - what is in an artifact ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "llmopt/lib/Artifact/ExportKernels.h"
#include "llmopt/lib/Target/Target.h"
#include "tools/common/Cli.h"

#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

static constexpr const char *kExamples = R"(
EXAMPLES:
  llmopt-inspect model.llmopt
  llmopt-inspect model.llmopt --verify
  llmopt-inspect model.llmopt --compat && echo runs here
  llmopt-inspect model.llmopt --stages --json
)";

namespace {
struct Options {
  std::string artifact;
  std::string exportFolder;
  int64_t tokens = 2048;
  bool weights = false, stages = false, kernels = false, metadata = false, verify = false, compat = false, json = false;
};
} // namespace

static Status verifyAll(const Artifact &artifact) {
  LLMOPT_RETURN_IF_ERROR(artifact.verifyAll());
  std::cout << artifact.sections().size() << " sections: all checksums are right\n";
  return {};
}

/// Would it run here, and why not.
static Status checkMachine(const Artifact &artifact) {
  std::string reasons;
  for (const TargetRequirement &target : artifact.targets()) {
    std::vector<std::string> missing = missingFeatures(target.features);
    if (missing.empty()) {
      std::cout << "target " << target.name << " runs here\n";
      return {};
    }
    reasons += (reasons.empty() ? "target " : "; target ") + target.name + " needs";
    for (const std::string &feature : missing)
      reasons += " " + feature;
  }
  return unsupported("E0206", "no target of the artifact runs here: " + reasons, artifact.path());
}

static Status run(const Options &options) {
  LLMOPT_ASSIGN(Inspected inspected, Inspected::read(options.artifact));
  if (!options.exportFolder.empty()) {
    LLMOPT_ASSIGN(size_t count, exportKernels(inspected.artifact, options.exportFolder));
    std::cout << count << " kernels written to " << options.exportFolder << '\n';
    return {};
  }
  if (options.verify)
    return verifyAll(inspected.artifact);
  if (options.compat)
    return checkMachine(inspected.artifact);
  Result<Json> kernels = options.kernels ? kernelsJson(inspected, options.tokens) : Json();
  if (!kernels)
    return kernels.status();
  Json json = options.kernels  ? *kernels
              : options.weights  ? weightsJson(inspected)
              : options.stages ? stagesJson(inspected)
              : options.metadata ? inspected.artifact.model()
                                 : summaryJson(inspected);
  if (options.json || options.metadata)
    std::cout << json.str(2) << '\n';
  else
    options.kernels ? printKernels(json) : options.weights ? printWeights(json) : options.stages ? printStages(json) : printSummary(json);
  return {};
}

int main(int argc, char **argv) {
  CLI::App app("Shows what is in an artifact; never runs its code.", "llmopt-inspect");
  Options options;
  app.add_option("artifact", options.artifact, "model.llmopt")->required();
  auto *what = app.add_option_group("What", "default: a summary");
  what->add_flag("--weights", options.weights, "Every tensor of the weight section");
  what->add_flag("--stages", options.stages, "Every stage of the plans: kernels, bindings, work units");
  what->add_flag("--kernels", options.kernels, "Every GPU kernel: registers, shared memory, occupancy, stages, and an analytic roofline");
  what->add_flag("--metadata", options.metadata, "What the artifact says about its model, as JSON");
  what->add_option("--export-kernels", options.exportFolder, "Write each GPU kernel to this folder: cubin or PTX, and launch metadata in Triton's shape");
  what->add_flag("--verify", options.verify, "Check all checksums; exit status 5 if one differs");
  what->add_flag("--compat", options.compat, "Say whether it runs on this machine; exit status 3 if not");
  what->require_option(0, 1);
  app.add_option("--tokens", options.tokens, "Of --kernels: tokens of the prefill")->check(CLI::Range(int64_t(1), int64_t(1) << 20))->capture_default_str();
  app.add_flag("--json", options.json, "Print JSON");
  app.footer(kExamples);
  return runProgram(app, argc, argv, [&] { return run(options); });
}
