//===- UnitBounds.h - where a kernel's work units stand ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// KernelBuilder deals out units [units * part / parts, units * (part + 1) / parts). On a GPU a thread takes one unit at a time, so that the
// emitters for it put a unit and its successor in place of these quotients.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_UNITBOUNDS_H
#define LLMOPT_CODEGEN_CUDA_UNITBOUNDS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>

namespace llmopt::cuda {

enum class UnitBound { Begin, End };

inline std::optional<UnitBound> unitBound(mlir::arith::DivUIOp op, mlir::func::FuncOp function) {
  auto parts = op.getRhs().getDefiningOp<mlir::arith::ExtUIOp>();
  if (!parts || parts.getIn() != function.getArgument(3))
    return std::nullopt;
  if (auto product = op.getLhs().getDefiningOp<mlir::arith::MulIOp>())
    if (auto part = product.getRhs().getDefiningOp<mlir::arith::ExtUIOp>())
      if (part.getIn() == function.getArgument(2))
        return UnitBound::Begin;
  return UnitBound::End;
}

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_UNITBOUNDS_H
