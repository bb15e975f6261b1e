//===- Alternatives.h - fused or apart -----------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_ALTERNATIVES_H
#define LLMOPT_PASSES_ALTERNATIVES_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/Pass/Pass.h"

#include <functional>
#include <memory>
#include <string>

namespace llmopt {

/// Which fusion of passes/Fusion/Alternatives.def makes operations like this one; empty for operations that never lose.
llvm::StringRef fusionThatMayLose(mlir::Operation *op);

struct FusionChoice {
  bool fused = true;
  std::string source; ///< "cost model", "tuning database"
  std::string times;  ///< of both ways, for people
};
using ChooseFusion = std::function<FusionChoice(llvm::StringRef fusion, mlir::Operation *op, ShapeAnalysis &shapes)>;

/// Decomposes the operations that `choose` wants apart, and says for each what was chosen and why (remarks of category "fusion").
std::unique_ptr<mlir::Pass> createChooseAlternativesPass(ChooseFusion choose);

} // namespace llmopt

#endif // LLMOPT_PASSES_ALTERNATIVES_H
