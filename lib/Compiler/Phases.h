//===- Phases.h - the pipeline of each phase -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_PHASES_H
#define LLMOPT_LIB_COMPILER_PHASES_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/WeightStore.h"
#include "llmopt/passes/Alternatives.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace llmopt {

/// Phases Canonical, Fused and Planned as pass pipelines over the module.
void buildCanonicalPhase(mlir::OpPassManager &pm, const CompileOptions &options, const WeightStore &weights);
/// `decoderGraph`: function `main` is a padded decoder that may get a ragged step.
void buildFusedPhase(mlir::OpPassManager &pm, const CompileOptions &options, const WeightStore &weights, bool decoderGraph);
/// `alone`: operations that get kernels of their own.
void buildPlannedPhase(mlir::OpPassManager &pm, const CompileOptions &options, ChooseFusion chooseFusion, llvm::ArrayRef<std::string> alone);

/// IR as text, with the names of source nodes.
std::string printModule(mlir::ModuleOp module, int64_t longestConstant = -1);
/// With --dump-dir: the IR after a phase (of a target, from Strategy on) to a file of that folder, large constants left out.
Status dumpPhase(const CompileOptions &options, Phase phase, mlir::ModuleOp module, const std::string &target = "");

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_PHASES_H
