//===- ByteProduct.h - quantized operands of a product --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The fusions of quantized products share this: kernels multiply unsigned bytes by signed bytes of a weight and add in i32, so zero
// points are taken off afterwards, and bytes of the other sign are moved by 128 (a change of the highest bit):
//
//   sum_k (a - za) (w - zw)  =  sum_k a w  -  za sum_k (w - zw)  -  zw sum_k a          all in i32, where wrapping changes nothing
//
// The second term is a vector that is known when compiling where za is; the third is there only if the weight has a zero point.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_BYTEPRODUCT_H
#define LLMOPT_PASSES_FUSION_BYTEPRODUCT_H

#include "llmopt/passes/Match.h"

namespace llmopt::fusion {

/// Bytes, and what is taken off of them (i32; null: nothing). Exporters and our canonical form leave reshapes and transpositions behind:
/// `moves`, the last first.
struct Codes {
  mlir::Value bytes, zero;
  llvm::SmallVector<mlir::Operation *, 2> moves = {};
};

/// Takes reshapes and transpositions off of `value` and adds them to `moves`.
mlir::Value takeOffMoves(mlir::Value value, llvm::SmallVectorImpl<mlir::Operation *> &moves);

/// `number` written as cast(bytes), or cast(bytes) - zero in i32, perhaps moved.
std::optional<Codes> matchCodes(mlir::Value number);

/// The bytes where the numbers were.
mlir::Value movedBytes(mlir::PatternRewriter &rewriter, const Codes &codes);

/// A parameter of a weight [N, K] as one of the weight [K, N]; what has less than two dimensions as it is.
mlir::Value turned(mlir::PatternRewriter &rewriter, mlir::Value value);

bool isOneElement(mlir::Value value);

/// One for each output of the weight, which is [K, N], or [N, K] with `outputsFirst`.
bool isByColumns(mlir::Value value, mlir::RankedTensorType weight, bool outputsFirst);

/// What stands in the way of multiplying `input` [.., K] with the weight [K, N].
struct Obstacle {
  mlir::Value value;
  Miss kind;
  llvm::StringRef reason, change;
};
std::optional<Obstacle> obstacleTo(const Codes &input, const Codes &weight);

/// Rewrites a linear layer or a matrix product: `outputsFirst` where its right operand is [N, K], `bias` where it has one.
using RewriteProduct = mlir::LogicalResult (*)(mlir::Operation *product, bool outputsFirst, mlir::Value bias, mlir::PatternRewriter &rewriter);
void addProductPatterns(mlir::RewritePatternSet &patterns, RewriteProduct rewrite);

/// The sums, of type `type`.
mlir::Value emitByteProduct(mlir::PatternRewriter &rewriter, mlir::Location loc, mlir::RankedTensorType type, Codes input, Codes weight);

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_BYTEPRODUCT_H
