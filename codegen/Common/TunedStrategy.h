//===- TunedStrategy.h - strategies that were measured ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_TUNEDSTRATEGY_H
#define LLMOPT_CODEGEN_COMMON_TUNEDSTRATEGY_H

#include "codegen/Common/ChooseStrategy.h"
#include "llmopt/lib/Target/TuningDatabase.h"

namespace llmopt {

TuningKey tuningKey(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options);

/// Families whose strategies can be measured and overridden.
bool isTunable(llvm::StringRef family);

/// The strategy of an entry for this kernel. E0318: no strategy of the kernel's family, or one that no machine could run well: the file
/// is not trusted, and the generators rely on what is checked here.
Result<mlir::Attribute> tunedStrategy(const TuningEntry &entry, exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                      const StrategyOptions &options);

/// Ways to compute a kernel other than `usual`, each with one choice changed in every bucket; to be measured.
llvm::SmallVector<mlir::Attribute> otherStrategies(mlir::Attribute usual, const Target &target);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_TUNEDSTRATEGY_H
