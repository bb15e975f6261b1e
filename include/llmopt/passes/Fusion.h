//===- Fusion.h - phase Fused --------------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_H
#define LLMOPT_PASSES_FUSION_H

#include "llmopt/lib/Support/WeightStore.h"

#include <memory>
#include <span>

namespace mlir {
class Pass;
class RewritePatternSet;
}

namespace llmopt {

/// One row of passes/Fusion/Patterns.def, or one fusion of a plugin.
struct FusionInfo {
  const char *name; ///< the key of --disable-fusion, --explain and --require-fusion
  int level;        ///< the first -O level that has it
  const char *summary;
};
std::span<const FusionInfo> allFusions();

/// `llmopt-fuse` of a module that refers to weights: tables among them are recognized by what they hold.
struct FusePassOptions;
std::unique_ptr<mlir::Pass> createFusePass(FusePassOptions options, const WeightStore &weights);

/// Adds a fusion from outside; plugins call it while they are loaded, before any pass runs. A name that is taken is refused: false.
bool registerFusion(const FusionInfo &info, void (*addPatterns)(mlir::RewritePatternSet &));

} // namespace llmopt

#endif // LLMOPT_PASSES_FUSION_H
