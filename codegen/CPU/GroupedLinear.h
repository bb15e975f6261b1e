//===- GroupedLinear.h - family "grouped_linear": the experts of routed layers -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows come sorted by expert. Each part of the work goes through all experts and computes its own columns of each that has rows: a panel
// of weights is read once for all rows of its expert, panels of other experts are not read, and the parts stay equal however the rows are
// spread. With one token (the first variant) every expert has one row at most, and several panels are streamed side by side.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_GROUPEDLINEAR_H
#define LLMOPT_CODEGEN_CPU_GROUPEDLINEAR_H

#include "codegen/CPU/LinearEpilogue.h"
#include "codegen/CPU/LinearStream.h"

namespace llmopt::cpu {

/// What the variants of a kernel have in common.
struct GroupedProblem {
  const LinearProblem &linear;
  mutable llm::GroupedLinearOp op; ///< the first of the products
  SymExpr inputRows;               ///< tokens, or tokens times choices
  int64_t streamPanels = 1;        ///< of each weight, that pass a single row side by side
  const LinearSegment &segment() const { return linear.segments.front(); }
  int64_t weights() const { return int64_t(segment().linears.size()); }
  /// Rows of the input with one token; 0 where that is not known.
  int64_t rowsOfToken() const { return sharesRows() ? 1 : linear.leading[1].constant().value_or(0); }
  int64_t experts() const { return llvm::cast<mlir::RankedTensorType>(op.getWeight().getType()).getDimSize(0); }
  bool sharesRows() const { return llvm::cast<mlir::RankedTensorType>(op.getInput().getType()).getRank() == 2; }
};

/// What row tiles in vectors, of codes and in tile registers have in common: which rows belong to an expert, and where they lie.
class GroupedWriter {
public:
  GroupedWriter(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem);
  virtual ~GroupedWriter() = default;
  void run();

protected:
  /// This part's columns of one expert, whose panels begin with firstPanel, for rows at places [first, last) of the order.
  virtual void columns(mlir::Value firstPanel, mlir::Value first, mlir::Value last) = 0;
  /// Once, before all experts.
  virtual void prepareInput() {}
  /// Calls `tile(panel, panels)` for this part's column tiles, of which the last one may have fewer panels.
  void columnTiles(int64_t tilePanels, llvm::function_ref<void(mlir::Value panel, int64_t panels)> tile);
  /// Places [first, last) of the order in blocks of at most `most` rows: after `fetch(place, count)` the column tiles of the part meet them.
  void rowBlocks(mlir::Value first, mlir::Value last, int64_t most, int64_t tilePanels, llvm::function_ref<void(mlir::Value place, mlir::Value count)> fetch,
                 llvm::function_ref<void(mlir::Value place, mlir::Value count, mlir::Value panel, int64_t panels)> tile);
  /// Calls `tile(panel, count)` for panels [begin, end), up to problem.streamPanels of them side by side.
  void streams(mlir::Value begin, mlir::Value end, llvm::function_ref<void(mlir::Value panel, int64_t count)> tile);
  /// A row in digits, or rounded to bf16: number `number` of those at `rows`, where there is room for `most`.
  struct CodeRow {
    mlir::Value rows, number;
    int64_t most = 1;
  };
  /// The row at a place of the order by codes that are read once: panels [begin, end) of all weights.
  void streamCodes(mlir::Value firstPanel, mlir::Value begin, mlir::Value end, mlir::Value place, const CodeRow &row);
  /// The first panel of a unit that has `tilePanels` of them.
  mlir::Value panelOf(mlir::Value unit, int64_t tilePanels) { return b_.min(b_.mul(unit, tilePanels), b_.index(problem_.segment().panels())); }
  /// The sums of a tile with `count` panels of each weight, from `firstWeight` on, to scratch memory: a matrix for each weight.
  void storeSums(const TileShape &shape, mlir::ValueRange sums, int64_t count, int64_t firstWeight);
  /// What follows them; `slots`: the tile's rows of the results.
  void finishTile(llvm::ArrayRef<mlir::Value> slots, mlir::Value panel, int64_t count);
  /// What follows the products of `count` rows from a place on. They lie at the beginning of scratch memory, row by row.
  void finish(mlir::Value place, mlir::Value count, mlir::Value panel, int64_t panels, int64_t productStride);
  /// The row of the results at a place of the order, and the row of the input that it is computed from.
  mlir::Value slotAt(mlir::Value place);
  mlir::Value inputRow(mlir::Value slot) { return problem_.sharesRows() ? b_.floorDiv(slot, choices_) : slot; }

  KernelBuilder &b_;
  const LinearContext &context_;
  const GroupedProblem &problem_;
  LinearEpilogue epilogue_;
  mlir::Value input_;

private:
  mlir::Value number(mlir::Value base, mlir::Value at);
  mlir::Value order_, choices_;
};

/// Numbers of a variant. `scratchElements` in floats.
struct GroupedVariant {
  int64_t unitPanels = 1;
  SymExpr scratchElements;
};
/// Rows in vectors; `tileRows` 1: one token.
GroupedVariant emitGroupedVectors(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, int64_t tileRows, int64_t tilePanels);
/// Many rows by codes, in vectors.
GroupedVariant emitGroupedCodes(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket);
/// Rows in tile registers (Intel AMX).
GroupedVariant emitGroupedTiles(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_GROUPEDLINEAR_H
