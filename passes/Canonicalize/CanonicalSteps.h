//===- CanonicalSteps.h - steps of phase Canonical ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_CANONICALIZE_CANONICALSTEPS_H
#define LLMOPT_PASSES_CANONICALIZE_CANONICALSTEPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmopt {

/// f16 operations become f32 operations between casts.
void widenHalf(mlir::func::FuncOp function);

/// Reshapes, broadcasts, tiles and slices whose result is proven to have the shape of their input, and concatenations of
/// one tensor, are replaced by that input.
void dropNoOps(mlir::func::FuncOp function);

/// Weights with leading dimensions of 1 that are broadcast along a last dimension become vectors.
void dropLeadingOnes(mlir::func::FuncOp function);

/// A weight in another shape of as many elements.
mlir::Value reshapeWeight(mlir::OpBuilder &builder, mlir::Value weight, llvm::ArrayRef<int64_t> shape);

/// Rows of a table that are gathered element by element are gathered row by row.
void gatherRows(mlir::func::FuncOp function);

/// Gathers of one row by its number become slices.
void sliceGathers(mlir::func::FuncOp function);

/// Slices that take one part of a concatenation whole become that part.
void sliceConcats(mlir::func::FuncOp function);

/// Reshapes move behind products with weights, norms and elementwise operations, until they meet the reshape back.
void sinkViews(mlir::func::FuncOp function);

/// Shapes that reshapes and broadcasts are given, and other sizes that are computed, become constants, or sums and products of the
/// arguments' dimensions, where the shape analysis knows them.
void resolveShapes(mlir::func::FuncOp function);

} // namespace llmopt

#endif // LLMOPT_PASSES_CANONICALIZE_CANONICALSTEPS_H
