//===- Projection.h - products with a weight matrix -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the family "linear" computes: `llm.linear`, or an `llm.matmul` of bytes: of unsigned ones with a matrix of signed ones, whose sums are i32
// (fusion "fuse-integer-product" brings quantized products into that form), or of e4m3 with e4m3, whose sums are f32 ("fuse-float8-product"). Both have the
// input as first operand, the weight as second.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_PROJECTION_H
#define LLMOPT_LIB_ANALYSIS_PROJECTION_H

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/TypeUtilities.h"

namespace llmopt {

/// A unit attribute of llm.linear: kernels may round its input to 8 bits, in blocks with a scale each, as MatMulNBits with accuracy_level 4 permits. What takes an
/// operation's place should keep it; without it, products are more exact.
inline constexpr char kInt8Input[] = "llm.int8_input";

class Projection {
public:
  Projection() = default;
  Projection(llm::LinearOp op) : op_(op) {}
  /// A product with the matrices of all experts, which `of` leaves to the kernels of that family.
  Projection(llm::GroupedLinearOp op) : op_(op) {}
  /// Null if `op` is none. Whether the second operand is a weight, the caller knows.
  static Projection of(mlir::Operation *op) {
    auto matmul = llvm::dyn_cast_or_null<llm::MatMulOp>(op);
    if (matmul ? takesBytes(matmul) : llvm::isa_and_nonnull<llm::LinearOp>(op))
      return Projection(op);
    return {};
  }
  /// One with a matrix, or with the matrices of all experts.
  static Projection ofAny(mlir::Operation *op) {
    auto grouped = llvm::dyn_cast_or_null<llm::GroupedLinearOp>(op);
    return grouped ? Projection(grouped) : of(op);
  }
  explicit operator bool() const { return op_ != nullptr; }
  bool operator==(const Projection &other) const = default;

  mlir::Operation *operation() const { return op_; }
  mlir::Operation *operator->() const { return op_; }
  mlir::Value getInput() const { return op_->getOperand(0); }
  mlir::Value getWeight() const { return op_->getOperand(1); }
  mlir::Value getResult() const { return op_->getResult(0); }
  mlir::Value getBias() const { return isBytes() || isGrouped() ? mlir::Value() : llvm::cast<llm::LinearOp>(op_).getBias(); }
  /// The weight is [K, N].
  bool getTransposed() const { return isBytes() || (!isGrouped() && llvm::cast<llm::LinearOp>(op_).getTransposed()); }
  /// Of bytes: what they stand for, scales and zero points, is in what follows.
  bool isBytes() const { return llvm::isa<llm::MatMulOp>(op_); }
  bool isFloat8() const { return isBytes() && llvm::isa<mlir::Float8E4M3FNType>(weightType().getElementType()); }
  bool isInteger() const { return isBytes() && !isFloat8(); }
  /// The weight is [experts, N, K].
  bool isGrouped() const { return llvm::isa<llm::GroupedLinearOp>(op_); }
  mlir::RankedTensorType weightType() const { return llvm::cast<mlir::RankedTensorType>(getWeight().getType()); }
  int64_t depth() const { return weightType().getDimSize(matrixDim() + (getTransposed() ? 0 : 1)); }
  int64_t columns() const { return weightType().getDimSize(matrixDim() + (getTransposed() ? 1 : 0)); }

private:
  explicit Projection(mlir::Operation *op) : op_(op) {}
  unsigned matrixDim() const { return isGrouped() ? 1 : 0; }
  static bool takesBytes(llm::MatMulOp op) {
    auto input = llvm::cast<mlir::RankedTensorType>(op.getLhs().getType()), weight = llvm::cast<mlir::RankedTensorType>(op.getRhs().getType());
    bool integers = input.getElementType().isUnsignedInteger(8) && weight.getElementType().isSignlessInteger(8) && mlir::getElementTypeOrSelf(op.getType()).isInteger(32);
    bool floats = llvm::isa<mlir::Float8E4M3FNType>(input.getElementType()) && input.getElementType() == weight.getElementType();
    return (integers || floats) && input.getRank() >= 2 && weight.getRank() == 2 && weight.hasStaticShape();
  }
  mlir::Operation *op_ = nullptr;
};

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_PROJECTION_H
