//===- TuneHarness.h - one kernel in several ways, measured in turns *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_TUNEHARNESS_H
#define LLMOPT_LIB_WORKBENCH_TUNEHARNESS_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Workbench/Tune.h"
#include "llmopt/runtime/Engine.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>

namespace llmopt {

using SymbolValues = std::map<std::string, int64_t, std::less<>>;

/// A function `main` around one operation (an `exec.kernel`, or one of the llm dialect), as a model of its own. Activations become
/// arguments; weights become constants, since only their size matters.
class TuneGraph {
public:
  TuneGraph(mlir::Operation *op, ShapeAnalysis &shapes);
  /// E0320 where an operand's size follows from data.
  Status check() const { return status_; }
  /// Symbols of the arguments' dimensions.
  SymbolValues typicalSizes() const;
  /// Bytes of all constants of one copy.
  int64_t weightBytes() const;

  /// The operation once for each strategy, named "way 0", "way 1" ..., `copies` times in a row with weights of their own, so
  /// that weights come from memory as they do in a model. An empty list: the operation as it is.
  std::string text(llvm::ArrayRef<mlir::Attribute> strategies, int64_t copies) const;
  std::vector<Tensor> inputs(const SymbolValues &values) const;

private:
  bool isConstant(mlir::Value operand) const;
  mlir::Operation *op_;
  ShapeAnalysis &shapes_;
  Status status_;
};

/// Rounds of times, in nanoseconds: times[way][round].
using WayTimes = std::vector<std::vector<double>>;

/// Of the stages "way N" of an engine.
Result<WayTimes> measureWays(const Engine &engine, size_t ways, const std::vector<Tensor> &inputs, const TuneOptions &options);
/// Of whole runs of several engines.
Result<WayTimes> measureEngines(const std::vector<Engine> &engines, const std::vector<Tensor> &inputs, const TuneOptions &options);

double medianOf(std::vector<double> values);
/// Way 0 is kept unless another is faster by 3 percent in the median and in three rounds of four; among `candidates`.
size_t bestWay(const WayTimes &times, const std::vector<size_t> &candidates);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_TUNEHARNESS_H
