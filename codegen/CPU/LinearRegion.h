//===- LinearRegion.h - what a "linear" kernel computes ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A region of family "linear" is one input, one or more projections of it, and elementwise operations on their results:
//
//   one projection        y = act(x W^T + b) + residual      one segment
//   of bytes              y = float(x W - correction) * s    the same; sums are i32, of e4m3 f32 (llmopt/lib/Analysis/Projection.h)
//   joined projections    q, k, v = x Wq^T, x Wk^T, x Wv^T   three segments of one kernel: their panels are dealt as one list
//   a gated pair          y = silu(x Wg^T) * (x Wu^T)        one segment with two weights: their products meet in the epilogue
//   a norm in front       y = norm(x + r) W^T                each part norms the rows it multiplies; the sum and the norm may be results too
//   rows asked for        y = x[i] W^T + r[i]                each part fetches the rows it multiplies, and those it adds
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARREGION_H
#define LLMOPT_CODEGEN_CPU_LINEARREGION_H

#include "codegen/CPU/KernelFamily.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/Projection.h"

namespace llmopt::cpu {

struct LinearOutput {
  mlir::Value value;
  unsigned binding = 0;
};

/// Column panels whose results are computed from the same weights' products.
struct LinearSegment {
  llvm::SmallVector<Projection, 2> linears;
  llvm::SmallVector<LinearOutput, 1> outputs;
  int64_t columns = 0;
  int64_t panels() const { return (columns + 15) / 16; }
  /// Of its products.
  llvm::SmallVector<mlir::Value> results() const {
    return llvm::map_to_vector(linears, [](Projection linear) { return mlir::Value(linear.getResult()); });
  }
};

struct LinearProblem {
  unsigned inputBinding = 0;
  mlir::Operation *norm = nullptr;             ///< (or cast, choice of rows, windows) whose result is the input, instead of a binding
  bool integer = false;                        ///< of bytes
  bool float8 = false;                         ///< of e4m3, on GPUs only
  int64_t depth = 0;                           ///< K
  llvm::SmallVector<SymExpr, 4> leading;       ///< dimensions of the results before the last
  SymExpr rows;                                ///< their product, M
  llvm::SmallVector<LinearSegment, 3> segments;
  std::vector<SymExpr> dims;                   ///< what every variant reads, in order
  int64_t panels() const;
  int64_t mostWeights() const;                 ///< of one segment
};

/// Understands a region, or says what is not supported.
Result<LinearProblem> analyzeLinear(exec::KernelOp kernel, ShapeAnalysis &shapes);

/// The gather that `value` is rows of an operand by, if it is that.
llm::GatherOp chosenRows(mlir::Value value);

/// Binding of a block argument (its operand number).
inline unsigned bindingOf(mlir::Value argument) { return llvm::cast<mlir::BlockArgument>(argument).getArgNumber(); }

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARREGION_H
