//===- Canonicalize.h - phase Canonical -----------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_CANONICALIZE_H
#define LLMOPT_PASSES_CANONICALIZE_H

#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/Pass/Pass.h"

#include <memory>

namespace llmopt {

/// `llmopt-fold-constants`: replaces what depends on constants alone by its value (at most 1 MiB each), and integer
/// tensors whose elements the shape analysis solved to numbers. Expressions over weights stay: they are evaluated when the artifact
/// is written.
std::unique_ptr<mlir::Pass> createFoldConstantsPass(const WeightStore &weights);
/// For modules that refer to no weights.
std::unique_ptr<mlir::Pass> createFoldConstantsPass();

} // namespace llmopt

#endif // LLMOPT_PASSES_CANONICALIZE_H
