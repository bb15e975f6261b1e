//===- Loops.h - nests over the elements of a kernel's results --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LOOPS_H
#define LLMOPT_CODEGEN_CPU_LOOPS_H

#include "codegen/CPU/LoopsEmitter.h"

namespace llmopt::cpu {

/// Elements of work in one unit and lanes of a vector: from the kernel's `strategy`, else from the target.
struct LoopsChoice {
  int64_t unitElements = 4096;
  int64_t lanes = 8;
};
LoopsChoice chooseLoops(exec::KernelOp kernel, const Target &target);

/// One result (or a part of it) as an iteration space: for each point, an element of `value` goes to `buffer`.
struct LoopPart {
  mlir::Value value;            ///< its coordinates are the points
  unsigned buffer = 0;          ///< binding of the result
  ElementEmitter::Dims target;  ///< dimensions of the result as it lies in memory, of the same rank ...
  llvm::SmallVector<SymExpr, 4> shift; ///< ... and where in it the points start
};

/// Parts with equal points run in one nest.
struct LoopNest {
  ElementEmitter::Dims points;
  llvm::SmallVector<LoopPart> parts;
};

/// Splits the yielded values into nests: views at the end cost nothing, joined tensors are written operand by operand.
std::vector<LoopNest> makeNests(exec::KernelOp kernel, ShapeAnalysis &shapes);

/// How the points of a nest are dealt to work units.
struct NestUnits {
  SymExpr count;     ///< work units
  SymExpr perUnit;   ///< rows (or flat elements) of one unit
  SymExpr chunks;    ///< units along one row ...
  SymExpr chunkColumns; ///< ... of this many columns, a multiple of the vector length
  bool flat = false;
  bool scalar = false; ///< no vectors over the points (a reduction has them inside)
  int transposed = -1; ///< the dimension along which a transposed nest (LoopsTransposed.cpp) reads; -1: it is none
  SymExpr readChunks;  ///< units along that one
};
NestUnits planNest(const LoopNest &nest, ElementEmitter &emitter, const LoopsChoice &choice);
/// Code for unit `unit` (counted from the nest's first).
void emitNest(const LoopNest &nest, const NestUnits &units, ElementEmitter &emitter, Index unit);

/// The last dimension that is not always 1; -1 if there is none.
int innermost(llvm::ArrayRef<SymExpr> points);

/// A nest that reads along one dimension and writes along another, if this one does.
std::optional<NestUnits> planTransposed(const LoopNest &nest, ElementEmitter &emitter, const LoopsChoice &choice);
void emitTransposed(const LoopNest &nest, const NestUnits &units, ElementEmitter &emitter, Index unit);

/// `body` for the coordinates [begin, end): by vectors (`begin` being a multiple of the vector length), then one by one.
/// `size` says how long a whole row is.
void forColumns(ElementEmitter &emitter, Index begin, Index end, SymExpr size, llvm::function_ref<void(Index)> body);

/// Operations whose slices along an axis need a loop of their own (topk, cumsum, scatter): null if the kernel is none.
mlir::Operation *sliceOperation(exec::KernelOp kernel);
Result<LoweredKernel> lowerSlices(exec::KernelOp kernel, mlir::Operation *op, FamilyContext &context);

/// Bytes read and written once, and elements computed, for profiles.
void addCosts(exec::KernelOp kernel, ShapeAnalysis &shapes, LoweredKernel &lowered);

Result<LoweredKernel> lowerLoops(exec::KernelOp kernel, FamilyContext &context);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LOOPS_H
