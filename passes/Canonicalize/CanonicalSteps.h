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

/// f16 operations become f32 operations between casts. Returns how many.
int64_t widenHalf(mlir::func::FuncOp function);

/// Reshapes, broadcasts, tiles and slices whose result is proven to have the shape of their input, and concatenations of
/// one tensor, are replaced by that input. Returns how many.
int64_t dropNoOps(mlir::func::FuncOp function);

/// Shapes that reshapes compute when the model runs become constants where the shape analysis can say them so. Returns how many.
int64_t resolveShapes(mlir::func::FuncOp function);

} // namespace llmopt

#endif // LLMOPT_PASSES_CANONICALIZE_CANONICALSTEPS_H
