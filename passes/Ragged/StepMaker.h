//===- StepMaker.h - main as a ragged step ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_RAGGED_STEPMAKER_H
#define LLMOPT_PASSES_RAGGED_STEPMAKER_H

#include "ControlSamples.h"
#include "TokenAxis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <optional>

namespace llmopt::ragged {

/// Arguments and results of `main`, as `llm.decoder` (llmopt/passes/Ragged.h) tells them.
struct Ports {
  unsigned ids = 0, logits = 0;
  std::optional<unsigned> mask, positions;
  llvm::SmallVector<std::pair<unsigned, unsigned>> past; ///< argument, result

  static std::optional<Ports> read(mlir::func::FuncOp main);
};

/// Makes `step` beside `main`. What it goes through first is a copy of main for one sequence without padding, whose arguments follow those of
/// the step: each part takes away what depends on them.
class StepMaker {
public:
  StepMaker(mlir::func::FuncOp main, const Ports &ports, const WeightStore &weights)
      : main_(main), ports_(ports), builder_(main.getContext()), shapes_(symbols_), samples_(main.getContext(), shapes_, weights) {}
  ~StepMaker();

  /// False when something stands in the way; then `obstacle` says what, as long as this object lives.
  bool make();
  const Obstacle &obstacle() const { return obstacle_; }

private:
  // StepMaker.cpp
  bool refuse(mlir::Operation *op, std::string reason);
  /// A copy of main for one sequence: batch 1, `tokens` new tokens; the old arguments follow the three of a step.
  void draft();
  /// i32 [tokens] as `type` [1, tokens].
  mlir::Value asRow(mlir::Value vector, mlir::Type type);
  /// Dimensions of the old arguments in `past` and `tokens`; batch is 1.
  void setDims();
  /// What is left without the old caches as results.
  bool checkTokens();
  std::string argumentName(mlir::BlockArgument argument);
  /// The batch is 1 from here on, and the types say so.
  void refineTypes();
  void dropOldArguments();
  void erase(mlir::Operation *op);
  void removeUnused();

  mlir::BlockArgument oldArgument(unsigned index) { return step_.getArgument(index + 3); }
  mlir::Operation *terminator() { return step_.getBody().front().getTerminator(); }
  void limitPositions(int64_t count) { maxPositions_ = std::min(maxPositions_.value_or(count), count); }

  // StepAttention.cpp
  bool replaceAttentions();
  bool replaceAttention(llm::AttentionOp op, int64_t state);
  /// What is joined to an old cache along the tokens, where `value` is the two and what main returns as the new cache; or null.
  mlir::Value addedToCache(mlir::Value value);
  /// The old cache where `scatter` makes it longer by the new tokens and writes them there; or null.
  mlir::Value cacheWrittenBehind(llm::ScatterElementsOp scatter);
  /// [1, heads, tokens, size] as [tokens, heads, size].
  mlir::Value asTokens(mlir::Value value);
  mlir::Value fromTokens(mlir::Value value, mlir::Type wanted);
  /// How far back a token sees (0: everything before), or nothing (and the obstacle) when the mask means something else.
  std::optional<int64_t> windowOf(llm::AttentionOp op);
  static bool meansWindow(const Sample &sample, const Tensor &mask, llm::AttentionOp op, int64_t window);

  // StepPositions.cpp
  /// Values [.., tokens, ..] that hold past, past + 1, ... become the step's positions.
  void replacePositions();
  bool isPositionLike(mlir::Value value);
  mlir::Value positionsAs(mlir::Value value);
  /// gather(table[: past + tokens], positions): positions are within it, so the table may be read whole.
  void readSlicedTablesWhole();
  /// A table read at positions, or some way behind them, ends the sequence.
  void limitByTables();
  void limitByRows(mlir::Value numbers, int64_t rows);
  /// Rows of a table by the step's tokens or positions: those are never negative, so that it is an embedding.
  void embedNumbers();

  // StepLogits.cpp
  /// Logits for the rows asked for: the operations behind the last attention that work on tokens one by one see those rows only.
  void gatherRows();
  /// The operation that made `value` [1, tokens, width] from its first operand of the same form, token by token, for it alone.
  static mlir::Operation *rowByRow(mlir::Value value);

  mlir::func::FuncOp main_, step_;
  const Ports &ports_;
  mlir::OpBuilder builder_;
  SymContext symbols_;
  ShapeAnalysis shapes_;
  ControlSamples samples_;
  llvm::DenseMap<mlir::Value, int64_t> windows_;
  std::optional<int64_t> maxPositions_;
  Obstacle obstacle_;
};

} // namespace llmopt::ragged

#endif // LLMOPT_PASSES_RAGGED_STEPMAKER_H
