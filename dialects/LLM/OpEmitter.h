//===- OpEmitter.h - writing decompositions ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_OPEMITTER_H
#define LLMOPT_DIALECTS_LLM_OPEMITTER_H

#include "VerifyShapes.h"

#include "mlir/IR/Builders.h"

namespace llmopt::llm {

/// Builds operations with result types that follow from the operands. Sizes that the types do not tell come from
/// `llm.shape`.
class OpEmitter {
public:
  OpEmitter(mlir::OpBuilder &builder, mlir::Location loc) : builder_(builder), loc_(loc) {}

  /// f64 stays, every other float is computed in f32.
  static mlir::Type computeType(mlir::Value value);

  template <typename OpTy>
  mlir::Value unary(mlir::Value x) {
    return OpTy::create(builder_, loc_, x.getType(), x);
  }
  template <typename OpTy>
  mlir::Value binary(mlir::Value x, mlir::Value y) {
    return OpTy::create(builder_, loc_, broadcastType(x, y), x, y);
  }
  mlir::Value compare(ComparePredicate predicate, mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value cast(mlir::Value x, mlir::Type elementType);

  /// A scalar (rank 0) of a float or integer type.
  mlir::Value scalar(mlir::Type elementType, double number);
  mlir::Value vector(llvm::ArrayRef<int64_t> numbers);
  /// The size of a dimension as an i64 scalar, or as an i64 vector of one element.
  mlir::Value dimScalar(mlir::Value x, int64_t axis);
  mlir::Value dimVector(mlir::Value x, int64_t axis);

  /// With keepdims.
  mlir::Value reduce(ReduceKind kind, mlir::Value x, int64_t axis);
  mlir::Value transpose(mlir::Value x, llvm::ArrayRef<int64_t> permutation);
  mlir::Value swapLast(mlir::Value x);
  mlir::Value expandDims(mlir::Value x, int64_t axis);
  mlir::Value concat(mlir::ValueRange inputs, int64_t axis);
  mlir::Value matmul(mlir::Value x, mlir::Value y);
  /// Sizes are dimension vectors; `dims` says what of them is known.
  mlir::Value reshape(mlir::Value x, mlir::ValueRange sizes, llvm::ArrayRef<int64_t> dims);
  /// start : end : step along one axis, start and end vectors of one element; `dim` is the size of the result, if known.
  mlir::Value slice(mlir::Value x, int64_t axis, mlir::Value start, mlir::Value end, int64_t step, int64_t dim);
  /// 0, 1, ... size - 1 as i64; `size` a scalar.
  mlir::Value iota(mlir::Value size, int64_t dim);

  /// `value`, made here, in place of `result`: cast to its element type and given its type, which may know more or less.
  llvm::SmallVector<mlir::Value> finish(mlir::Value value, mlir::Value result);

  mlir::OpBuilder &builder() { return builder_; }
  mlir::Location loc() { return loc_; }

private:
  mlir::RankedTensorType broadcastType(mlir::Value x, mlir::Value y);

  mlir::OpBuilder &builder_;
  mlir::Location loc_;
};

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_OPEMITTER_H
