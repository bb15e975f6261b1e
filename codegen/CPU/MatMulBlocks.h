//===- MatMulBlocks.h - products of two run-time tensors --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_MATMULBLOCKS_H
#define LLMOPT_CODEGEN_CPU_MATMULBLOCKS_H

#include "codegen/CPU/LinearRegion.h"
#include "codegen/CPU/MatMulTile.h"

namespace llmopt::cpu {

/// One llm.matmul with its epilogue. A missing row (left operand of rank 1) or column (right) is a dimension of size 1.
struct MatMulProblem {
  llm::MatMulOp op;
  mlir::Value left, right;                    ///< block arguments
  llvm::SmallVector<SymExpr, 4> batch, leftBatch, rightBatch;
  SymExpr rows, depth, columns;               ///< M, K, N
  llvm::SmallVector<SymExpr, 4> leading;      ///< of the result as the epilogue sees it
  llvm::SmallVector<LinearOutput, 2> outputs;
  std::vector<SymExpr> dims;
};

/// Sizes of one work unit: rows x columns of one matrix of the batch.
inline constexpr int64_t kMatMulRows = 96, kMatMulColumns = 64;

/// Writes the kernel; returns the scratch bytes it needs.
int64_t emitMatMul(KernelBuilder &b, const MatMulProblem &problem, ShapeAnalysis &shapes, const Target &target, int64_t vectorBits);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_MATMULBLOCKS_H
