//===- Phases.h - the pipeline of each phase -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_PHASES_H
#define LLMOPT_LIB_COMPILER_PHASES_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/WeightStore.h"
#include "llmopt/passes/Alternatives.h"

#include "mlir/Pass/PassManager.h"

namespace llmopt {

/// Phases Canonical, Fused and Planned as pass pipelines over the module.
void buildCanonicalPhase(mlir::OpPassManager &pm, const CompileOptions &options, const WeightStore &weights);
/// `decoderGraph`: function `main` is a padded decoder that may get a ragged step.
void buildFusedPhase(mlir::OpPassManager &pm, const CompileOptions &options, const WeightStore &weights, bool decoderGraph);
/// `alone`: operations that get kernels of their own.
void buildPlannedPhase(mlir::OpPassManager &pm, const CompileOptions &options, ChooseFusion chooseFusion, llvm::ArrayRef<std::string> alone);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_PHASES_H
