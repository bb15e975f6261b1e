//===- Fusion.h - phase Fused --------------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_H
#define LLMOPT_PASSES_FUSION_H

#include "mlir/Pass/Pass.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmopt {

struct FuseOptions {
  int level = 2;                     ///< patterns of a higher level stay out
  std::vector<std::string> disabled; ///< names of patterns that stay out
};

/// One row of passes/Fusion/Patterns.def.
struct FusionInfo {
  const char *name;
  int level;
  const char *summary;
};
std::span<const FusionInfo> allFusions();

/// `llmopt-fuse`: recovers composite operations from what exporters write, one pattern a file.
std::unique_ptr<mlir::Pass> createFusePass(const FuseOptions &options = {});

} // namespace llmopt

#endif // LLMOPT_PASSES_FUSION_H
