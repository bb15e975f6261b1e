//===- Fusion.h - phase Fused --------------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_H
#define LLMOPT_PASSES_FUSION_H

#include <span>

namespace llmopt {

/// One row of passes/Fusion/Patterns.def.
struct FusionInfo {
  const char *name;
  int level;
  const char *summary;
};
std::span<const FusionInfo> allFusions();

} // namespace llmopt

#endif // LLMOPT_PASSES_FUSION_H
