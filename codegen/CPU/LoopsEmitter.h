//===- LoopsEmitter.h - code for one element of a value ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The "pull" way of code generation: asked for the element of a value at some coordinates, write the code that computes
// it from the elements of the operands, down to the kernel's inputs. Elementwise, shape and indexing operations cost
// registers only; reductions become loops. Every operation of a region is covered by one of the `emit*` functions, by
// subject in LoopsShape.cpp, LoopsIndexing.cpp, LoopsReduce.cpp and LoopsContract.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LOOPSEMITTER_H
#define LLMOPT_CODEGEN_CPU_LOOPSEMITTER_H

#include "codegen/CPU/KernelFamily.h"
#include "codegen/CPU/LoopsIndex.h"

#include "llmopt/dialects/LLM/LLM.h"

namespace llmopt::cpu {

/// A value through reshape, expand_dims, squeeze and flatten: the same elements in the same order.
mlir::Value peelViews(mlir::Value value);
bool isView(mlir::Operation *op);

/// Inputs that lie together for each output of a packed matrix, and which coordinate is the output's.
struct PackedMatrix {
  int64_t inputGroup = 1;
  bool outputsFirst = true;
};

class ElementEmitter {
public:
  using Value = mlir::Value;
  using Values = KernelBuilder::Values;
  using At = llvm::ArrayRef<Index>;
  using Coordinates = llvm::SmallVector<Index, 4>;
  using Dims = llvm::SmallVector<SymExpr, 4>;

  ElementEmitter(KernelBuilder &b, exec::KernelOp kernel, FamilyContext &context, int64_t lanes);

  KernelBuilder &b;
  LoopScopes scopes;
  FamilyContext &context;

  /// Element `at` of `value` in registers: a scalar if all coordinates are uniform, else a vector.
  Value element(Value value, At at);
  /// The same for nests over the flat order of elements: every operand has either the elements of the result, in the
  /// same order, or one element. `canEmitFlat` says whether that holds for all that `value` is made of.
  Value flatElement(Value value, Index flat);
  bool canEmitFlat(Value value);

  /// Takes the elements of `value` from `make` instead of its operation (results of a row computed before, for example).
  void override(Value value, std::function<Value(At)> make) {
    overrides_[value] = std::move(make);
    overrideDepth_ = scopes.depth();
  }

  /// Says that a leaf lies in memory as weights of matrix kernels do (Common/WeightPacking.h), not row by row.
  void setPacked(Value leaf, PackedMatrix matrix) { packed_[leaf] = matrix; }

  const ValueShape &shape(Value value) { return context.shapes.shapeOf(value); }
  llvm::ArrayRef<SymExpr> dims(Value value) { return shape(value).dims; }
  SymContext &symbols() { return context.shapes.symbols(); }
  mlir::Type elementType(Value value) { return mlir::getElementTypeOrSelf(value.getType()); }
  SymExpr product(llvm::ArrayRef<SymExpr> dims);

  /// What could not be emitted; the code is of no use then.
  const Status &status() const { return status_; }
  void fail(mlir::Operation *op, std::string what);
  /// Base address of a leaf (a block argument, or a constant that is not a splat); null for anything else.
  Value leafBase(Value value);

  //===--- for the emit functions -------------------------------------------------===//

  /// Coordinates of `from` (the operand) for the element `at` of a result with dimensions `to`, after broadcasting.
  Coordinates broadcastTo(llvm::ArrayRef<SymExpr> to, At at, llvm::ArrayRef<SymExpr> from);
  /// Coordinates in `to` of the same element in row-major order.
  Coordinates regroup(llvm::ArrayRef<SymExpr> from, At at, llvm::ArrayRef<SymExpr> to);
  /// Entry `i` of a small integer tensor that names sizes: from the analysis, else read at run time.
  Index sizeEntry(Value sizes, int64_t i);
  /// An integer element as a coordinate, negative ones counted from the end, clamped to [0, size).
  Index indexFrom(Value element, mlir::Type elementType, unsigned level, SymExpr size);
  /// A coordinate as a number of a register type.
  Value number(Index index, mlir::Type elementType);
  unsigned levelOf(At at) const;
  bool uniform(At at) const;
  /// Repeats a scalar in all lanes if `like` asks for a vector.
  Value matchLanes(Value value, bool lanes);
  Value load(Value leaf, Index offset);
  Value zero(mlir::Type elementType, bool lanes, int64_t value = 0);

private:
  Value compute(Value value, At at);
  Value emitElementwiseOp(mlir::Operation *op, At at);
  Value emitConstant(llm::ConstantOp op, At at);
  // LoopsShape.cpp
  Value emitShapeOp(mlir::Operation *op, At at);
  Value emitView(mlir::Operation *op, At at);
  bool takesRowsApart(llm::WindowsOp windows, llvm::ArrayRef<SymExpr> from);
  Value emitSlice(llm::SliceOp op, At at);
  Value emitConcat(llm::ConcatOp op, At at);
  Value emitPad(llm::PadOp op, At at);
  Value emitRange(llm::RangeOp op, At at);
  Value emitShape(llm::ShapeOp op, At at);
  // LoopsIndexing.cpp
  Value emitIndexingOp(mlir::Operation *op, At at);
  // LoopsReduce.cpp
  Value emitReduce(llm::ReduceOp op, At at);
  Value emitArgReduce(llm::ArgReduceOp op, At at);
  // LoopsContract.cpp
  Value emitContraction(mlir::Operation *op, At at);
  Value emitMatMul(llm::MatMulOp op, At at);
  Value emitLinear(llm::LinearOp op, At at);
  Value emitConv(llm::ConvOp op, At at);
  Value emitWindows(llm::WindowsOp op, At at);
  Value emitRope(llm::RopeOp op, At at);

  exec::KernelOp kernel_;
  Index packedOffset(Value leaf, At at);
  /// Whether `value` is overridden or computed from one that is.
  bool readsOverride(Value value) const;
  llvm::DenseMap<Value, std::function<Value(At)>> overrides_;
  unsigned overrideDepth_ = 0; ///< loops around the last override: what it gives may be computed inside of them
  llvm::DenseMap<Value, PackedMatrix> packed_;
  llvm::DenseMap<Value, Value> constants_;
  Status status_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LOOPSEMITTER_H
