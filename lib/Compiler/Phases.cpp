//===- Phases.cpp - the pipeline of each phase -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/Phases.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Target/Target.h"
#include "llmopt/passes/KernelJoins.h"
#include "llmopt/passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"

#include <array>
#include <filesystem>

using namespace mlir;
using namespace llmopt;

namespace {
constexpr std::array<std::string_view, 7> kPhaseNames = {"import", "canonical", "fused", "planned", "strategy", "lowered", "binary"};

std::string matrixType(WeightFormat format) {
  switch (format) {
  case WeightFormat::Auto: return "";
  case WeightFormat::F32: return "f32";
  case WeightFormat::BF16: return "bf16";
  case WeightFormat::F16: return "f16";
  case WeightFormat::Int8: return "i8";
  case WeightFormat::Int4: return "i4";
  }
  return "";
}
} // namespace

std::string_view llmopt::phaseName(Phase phase) { return kPhaseNames[size_t(phase)]; }

std::optional<Phase> llmopt::parsePhase(std::string_view name) {
  for (size_t i = 0; i < kPhaseNames.size(); ++i)
    if (kPhaseNames[i] == name)
      return Phase(i);
  return std::nullopt;
}

void llmopt::buildCanonicalPhase(OpPassManager &pm, const CompileOptions &options, const WeightStore &weights) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createFoldConstantsPass(weights));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void llmopt::buildFusedPhase(OpPassManager &pm, const CompileOptions &options, const WeightStore &weights, bool decoderGraph) {
  FusePassOptions fuse;
  fuse.level = int(options.level);
  fuse.disable.assign(options.disabledFusions.begin(), options.disabledFusions.end());
  fuse.require.assign(options.requiredFusions.begin(), options.requiredFusions.end());
  fuse.verify = options.verifyRewrites;
  fuse.goesOn = decoderGraph && options.level != OptLevel::O0;
  pm.addPass(createFusePass(fuse, weights));
  pm.addPass(createCSEPass());
  if (!fuse.goesOn)
    return;
  // The step needs attention recognized, and is a function that the other rules have not seen.
  pm.addPass(createMakeRaggedStepPass(weights));
  buildCanonicalPhase(pm, options, weights);
  fuse.goesOn = false;
  pm.addPass(createFusePass(fuse, weights));
  pm.addPass(createCSEPass());
}

void llmopt::buildPlannedPhase(OpPassManager &pm, const CompileOptions &options, ChooseFusion chooseFusion, ArrayRef<std::string> alone) {
  if (options.level != OptLevel::O0) {
    pm.nest<func::FuncOp>().addPass(createAskedRowsPass());
    pm.nest<func::FuncOp>().addPass(createChooseAlternativesPass(std::move(chooseFusion)));
  }
  bool forGpu = llvm::any_of(options.targets, [](const std::string &name) {
    Result<Target> target = findTarget(name);
    return target && target->isGpu();
  });
  // Before cutting: a cast on a weight is part of the operand, not of the kernel. GPU kernels of experts take no codes.
  pm.nest<func::FuncOp>().addPass(createConvertWeightTypesPass({matrixType(options.dtype), /*roundExperts=*/!forGpu}));
  pm.addPass(createCSEPass());
  CutKernelsPassOptions cut;
  cut.fuse = options.level != OptLevel::O0;
  cut.alone.assign(alone.begin(), alone.end());
  // GPU kernels of projections read their rows from memory.
  cut.norms = !forGpu;
  cut.disable.assign(options.disabledFusions.begin(), options.disabledFusions.end());
  cut.countJoins = !options.requiredFusions.empty();
  pm.nest<func::FuncOp>().addPass(createCutKernelsPass(cut));
  if (cut.countJoins)
    pm.addPass(createRequireJoinsPass(options.requiredFusions));
}

std::string llmopt::printModule(ModuleOp module, int64_t longestConstant) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags = OpPrintingFlags().enableDebugInfo(true, false);
  module.print(stream, longestConstant < 0 ? flags : flags.elideLargeElementsAttrs(longestConstant));
  return text;
}

Status llmopt::dumpPhase(const CompileOptions &options, Phase phase, ModuleOp module, const std::string &target) {
  if (options.dumpFolder.empty())
    return {};
  std::error_code error; // the file says it
  std::filesystem::create_directories(options.dumpFolder, error);
  std::string path = options.dumpFolder + "/" + std::to_string(int(phase)) + "-" + std::string(phaseName(phase)) + (target.empty() ? "" : "-" + target) + ".mlir";
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(printModule(module, 64)));
  return file.commit();
}
