//===- ShapeRules.h - the shape rule of each operation ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules see operand shapes that are already known to the analysis. Each file of rules knows the operations of one
// subject; a rule returns nothing where not even the rank can be told.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SHAPERULES_H
#define LLMOPT_LIB_ANALYSIS_SHAPERULES_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace llmopt::shapes {

using Dims = llvm::SmallVector<SymExpr, 4>;
using Elements = llvm::SmallVector<SymExpr, 4>;
using Shapes = llvm::SmallVector<ValueShape, 1>;
using Inferred = std::optional<Shapes>;

struct Rules {
  ShapeAnalysis &analysis;
  SymContext &symbols;
  bool typed; ///< result types are given, not placeholders

  const ValueShape &of(mlir::Value value) { return analysis.shapeOf(value); }
  SymExpr c(int64_t value) { return symbols.constant(value); }
  /// Element i of a tensor that names sizes, unknown where nothing is known.
  SymExpr element(mlir::Value value, size_t i);

  // One function per file. False: the operation belongs to another file.
  bool inferElementwise(mlir::Operation *op, Inferred &result);
  bool inferShapeOps(mlir::Operation *op, Inferred &result);
  bool inferIndexing(mlir::Operation *op, Inferred &result);
  bool inferContractions(mlir::Operation *op, Inferred &result);
};

/// Dimensions of shapes aligned at the last dimension and broadcast.
Dims broadcastDims(SymContext &symbols, llvm::ArrayRef<SymExpr> a, llvm::ArrayRef<SymExpr> b);
/// What two operands that must agree say together: a constant if one has it, then a symbol (what others are compared with), otherwise what
/// is known. ShapeRequirements has it checked.
SymExpr agreed(SymExpr a, SymExpr b);
SymExpr product(SymContext &symbols, llvm::ArrayRef<SymExpr> dims);
std::optional<llvm::SmallVector<int64_t, 4>> constants(llvm::ArrayRef<SymExpr> exprs);
/// Static dimensions of a tensor small enough to track.
std::optional<llvm::SmallVector<int64_t, 4>> trackedDims(llvm::ArrayRef<SymExpr> dims);

/// Calls `visit(index)` for each index of a box in row-major order.
void forEachIndex(llvm::ArrayRef<int64_t> dims, llvm::function_ref<void(llvm::ArrayRef<int64_t>)> visit);
/// Row-major position of `index` in `dims`; dimensions of size 1 are repeated and missing leading ones ignored.
int64_t broadcastOffset(llvm::ArrayRef<int64_t> index, llvm::ArrayRef<int64_t> dims);

inline Inferred one(Dims dims, std::optional<Elements> elements = std::nullopt) {
  return Shapes{ValueShape{std::move(dims), std::move(elements)}};
}

/// Whether elements of this type are tracked: integers, and floats as long as they hold integers.
bool tracksElementType(mlir::Type type);
/// The element as it is stored in `type`: unknown if a constant does not fit.
SymExpr fitted(SymExpr element, mlir::Type type);

} // namespace llmopt::shapes

#endif // LLMOPT_LIB_ANALYSIS_SHAPERULES_H
