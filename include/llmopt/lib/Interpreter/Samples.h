//===- Samples.h - inputs and weights to try things out with -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random but repeatable: everything follows from names and a seed.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_INTERPRETER_SAMPLES_H
#define LLMOPT_LIB_INTERPRETER_SAMPLES_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>

namespace llmopt {

enum class SampleKind {
  Normal,   ///< floats around zero
  Positive, ///< floats between 1/4 and 2, which roots and logarithms can take
};

/// Integers are 0 or 1, good as indices into anything that has two elements.
Tensor sampleTensor(DType type, std::vector<int64_t> shape, uint64_t seed, SampleKind kind);

/// Sizes for the symbols of some dimensions: small, different from each other, the same for the same order of symbols.
class SampleSizes {
public:
  explicit SampleSizes(SymContext &symbols) : symbols_(symbols) {}
  /// Nothing where the expression is unknown, or too large for a sample.
  std::optional<std::vector<int64_t>> sizesOf(llvm::ArrayRef<SymExpr> dims);
  std::optional<int64_t> valueOf(SymExpr expression);

private:
  SymContext &symbols_;
  std::map<std::string, int64_t, std::less<>> values_;
};

/// A tensor for a value: the elements that the analysis knows, or else a sample. Nothing if its sizes cannot be chosen.
std::optional<Tensor> sampleValue(mlir::Value value, ShapeAnalysis &shapes, SampleSizes &sizes, uint64_t seed, SampleKind kind);

/// Invented weights for every `llm.weight` below `root`, by their names.
WeightStore sampleWeights(mlir::Operation *root);

/// A tensor for each argument; nothing if a size cannot be chosen.
std::optional<std::vector<Tensor>> sampleInputs(mlir::func::FuncOp function, uint64_t seed, SampleKind kind);

} // namespace llmopt

#endif // LLMOPT_LIB_INTERPRETER_SAMPLES_H
