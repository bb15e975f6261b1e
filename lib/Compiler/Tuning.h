//===- Tuning.h - measured choices in a compilation ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_TUNING_H
#define LLMOPT_LIB_COMPILER_TUNING_H

#include "codegen/Common/ChooseStrategy.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Target/Target.h"
#include "llmopt/lib/Target/TuningDatabase.h"
#include "llmopt/passes/Alternatives.h"

#include "mlir/IR/BuiltinOps.h"

#include <set>

namespace llmopt {

/// What is chosen by the database, or else by the cost model; remembers which entries were used.
class Tuning {
public:
  /// An empty path: there is no database. E0317, E0318.
  static Result<Tuning> open(const std::string &path);

  /// Phase Strategy: tiles for every kernel of `planned` that has none.
  Status chooseStrategies(mlir::ModuleOp planned, const Target &target, SymContext &symbols, const StrategyOptions &options);
  /// One fusion for all targets: apart only where every target wants that. Valid as long as this is.
  ChooseFusion chooseFusion(std::vector<Target> targets);
  /// A remark about the database as a whole.
  void explain(mlir::ModuleOp module) const;

  /// For the artifact: the part of the database that was used; nothing without one.
  std::optional<Json> record(const std::string &target) const;

private:
  const TuningEntry *find(const TuningKey &key);
  FusionChoice chooseFor(const Target &target, llvm::StringRef fusion, mlir::Operation *op, ShapeAnalysis &shapes);

  std::optional<TuningDatabase> database_;
  std::string path_;
  std::set<TuningKey> used_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_TUNING_H
