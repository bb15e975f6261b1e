//===- PositionRule.h - what a mask says about positions -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters compute causal masks from ranges, comparisons and tables. Here the elements of such a computation are found as
// expressions in the row i and the column j of the mask: `range(past, past + s)` expanded to a column is i + past, and comparing it
// with another range gives "true where j - i - past <= 0". That is a proof for all sizes, not a trial of some.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_POSITIONRULE_H
#define LLMOPT_PASSES_FUSION_POSITIONRULE_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

namespace llmopt::fusion {

/// row * i + column * j + offset
struct PositionForm {
  int64_t row = 0, column = 0;
  SymExpr offset;
};

class PositionRule {
public:
  /// Where in a tensor; nothing for a place that is not known (a batch).
  using Index = llvm::SmallVector<std::optional<PositionForm>, 4>;
  /// Each means form <= 0, and all hold.
  using Conditions = llvm::SmallVector<PositionForm, 2>;

  explicit PositionRule(ShapeAnalysis &shapes) : shapes_(shapes), symbols_(shapes.symbols()) {}

  /// Element [i, j] of the last two of these dimensions: places along a dimension of 1 are 0. Nothing where such a dimension is neither 1 nor
  /// proven to be `rows`, or `columns`.
  std::optional<Index> lastTwo(mlir::Value value, SymExpr rows, SymExpr columns);
  /// When a boolean element, or a number that stands for one, is true (with `negated`: false). Nothing where that depends on anything
  /// else.
  std::optional<Conditions> conditions(mlir::Value value, const Index &at, bool negated = false);
  /// Where an operand that is broadcast to the result is read.
  Index ofOperand(mlir::Value operand, mlir::Value result, const Index &at);
  /// For operations that move elements: where the result's element was before.
  std::optional<Index> before(mlir::Operation *move, const Index &at);

private:
  std::optional<PositionForm> integer(mlir::Value value, const Index &at);
  std::optional<PositionForm> integerInConstant(llm::ConstantOp constant, const Index &at);
  std::optional<PositionForm> integerInConcat(llm::ConcatOp concat, const Index &at);
  std::optional<PositionForm> integerInGather(llm::GatherNDOp gather, const Index &at);
  std::optional<PositionForm> integerOfBool(mlir::Value value, const Index &at);
  bool isZero(const PositionForm &form) { return form.row == 0 && form.column == 0 && form.offset.isConstant(0); }
  std::optional<Conditions> conditionsOfTable(llm::ConstantOp constant, const Index &at, bool negated);
  std::optional<Conditions> conditionsOfCompare(llm::CompareOp op, const Index &at, bool negated);
  PositionForm number(int64_t value) { return {0, 0, symbols_.constant(value)}; }
  PositionForm scaled(const PositionForm &form, int64_t factor);
  PositionForm sum(const PositionForm &a, const PositionForm &b, int64_t factor = 1);

  ShapeAnalysis &shapes_;
  SymContext &symbols_;
};

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_POSITIONRULE_H
