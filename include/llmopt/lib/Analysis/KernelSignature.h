//===- KernelSignature.h - what a kernel computes, in words -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of different models and layers that a generator would treat alike have the same signature: the key of the tuning database.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_KERNELSIGNATURE_H
#define LLMOPT_LIB_ANALYSIS_KERNELSIGNATURE_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include <map>
#include <string>

namespace llmopt {

struct KernelSignature {
  std::string ops;   ///< "linear silu linear mul": the operations of the region but constants, in order
  std::string shape; ///< "[s0, 2048] [5632, 2048]": operands in order; sizes in symbols are numbered as they come
  std::string dtype; ///< "f32 bf16"
};

/// Of an `exec.kernel`, or of an operation of the llm dialect.
KernelSignature signatureOf(mlir::Operation *op, ShapeAnalysis &shapes);

/// A size that is typical for a symbol, by its name: one sequence of 128 tokens without a past. For estimates, reports and measurements.
int64_t typicalSize(std::string_view symbol);
/// The same for every symbol in an expression; nothing where it is unknown.
std::optional<int64_t> typicalSize(SymExpr expression, SymContext &symbols);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_KERNELSIGNATURE_H
