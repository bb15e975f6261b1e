//===- LoopsReduce.h - sums, extrema and products in registers --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LOOPSREDUCE_H
#define LLMOPT_CODEGEN_CPU_LOOPSREDUCE_H

#include "codegen/CPU/LoopsEmitter.h"

namespace llmopt::cpu {

/// One reduction of elements of a tensor element type, in the register type.
struct Accumulator {
  ElementEmitter &e;
  llm::ReduceKind kind;
  mlir::Type elementType;

  mlir::Value initial(bool lanes) const;
  mlir::Value combine(mlir::Value sum, mlir::Value next) const;
  /// term(0) ... term(size - 1) combined; asks for vectors of terms (contiguous coordinates) and single ones.
  mlir::Value overRange(mlir::Value size, llvm::function_ref<mlir::Value(Index)> term) const;
  /// The same for several reductions at once: each call gives a term of each.
  using Terms = llvm::function_ref<KernelBuilder::Values(Index)>;
  static KernelBuilder::Values overRange(llvm::ArrayRef<Accumulator> all, mlir::Value size, Terms terms);
  /// Whether `next` is better than `best` (max and min).
  mlir::Value improves(mlir::Value next, mlir::Value best, bool orEqual) const;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LOOPSREDUCE_H
