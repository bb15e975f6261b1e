//===- SizeBuilder.h - sizes in one spelling -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters compute the same size in many ways. What the shape analysis solved is written again from the dimensions of the
// function's arguments, always in the same way, so that equal sizes are equal operations.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_CANONICALIZE_SIZEBUILDER_H
#define LLMOPT_PASSES_CANONICALIZE_SIZEBUILDER_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace llmopt {

class SizeBuilder {
public:
  SizeBuilder(mlir::func::FuncOp function, ShapeAnalysis &shapes);

  /// An i64 vector of the sizes; null where one does not follow from sums and products of argument dimensions.
  mlir::Value vector(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<SymExpr> sizes) const;

  /// The `shape` operand that gives `dims` to a tensor of dimensions `before`: numbers where 0 (copy) and one -1 (what is left) can
  /// say it, otherwise every size by itself, which needs `allowzero`. A null value where neither can.
  struct Shape {
    mlir::Value value;
    bool allowZero = false;
  };
  Shape reshapeTo(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<SymExpr> before, llvm::ArrayRef<SymExpr> dims) const;

private:
  bool canBuild(const SymExpr::Node *node) const;
  mlir::Value build(mlir::OpBuilder &builder, mlir::Location loc, const SymExpr::Node *node) const;

  /// Where each dimension is first met: argument and place.
  llvm::DenseMap<const SymExpr::Node *, std::pair<mlir::Value, int64_t>> places_;
};

} // namespace llmopt

#endif // LLMOPT_PASSES_CANONICALIZE_SIZEBUILDER_H
