//===- Phases.cpp - the pipeline of each phase -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/Phases.h"

#include "llmopt/passes/Canonicalize.h"
#include "llmopt/passes/Fusion.h"
#include "llmopt/passes/Kernels.h"
#include "llmopt/passes/WeightTypes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"

#include <array>

using namespace mlir;
using namespace llmopt;

namespace {
constexpr std::array<std::string_view, 7> kPhaseNames = {"import", "canonical", "fused", "planned", "strategy", "lowered", "binary"};

Type matrixType(MLIRContext *context, WeightFormat format) {
  switch (format) {
  case WeightFormat::Auto: return {};
  case WeightFormat::F32: return Float32Type::get(context);
  case WeightFormat::BF16: return BFloat16Type::get(context);
  case WeightFormat::F16: return Float16Type::get(context);
  }
  return {};
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

void llmopt::buildFusedPhase(OpPassManager &pm, const CompileOptions &options) {
  FuseOptions fuse;
  fuse.level = int(options.level);
  fuse.disabled = options.disabledFusions;
  pm.addPass(createFusePass(fuse));
  pm.addPass(createCSEPass());
}

void llmopt::buildPlannedPhase(OpPassManager &pm, MLIRContext *context, const CompileOptions &options) {
  // Before cutting: a cast on a weight is part of the operand, not of the kernel.
  pm.nest<func::FuncOp>().addPass(createConvertWeightTypesPass(matrixType(context, options.dtype)));
  pm.addPass(createCSEPass());
  pm.nest<func::FuncOp>().addPass(createCutKernelsPass({.fuse = options.level != OptLevel::O0}));
}
