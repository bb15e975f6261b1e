//===- MatMulToLinear.cpp - products with weights ---------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.matmul %x, %w   (w a matrix known when compiling)   ==>   %y = llm.linear %x, %w {transposed}
//   %z = %y + %b             (b a vector)                        ==>   %z = llm.linear %x, %w, %b {transposed}
//   %y = llm.matmul %x, cast %w  (stored in f16 or bf16)          ==>   %y = llm.linear %x, %w {transposed}
//   %z = (%y + %r) + %b                                          ==>   %z = llm.linear %x, %w, %b {transposed} + %r
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/StoredWeight.h"
#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

LogicalResult explainTypes(llm::MatMulOp root, PatternRewriter &rewriter) {
  if (!llm::isWeightExpression(root.getRhs()) || !isa<FloatType>(typeOf(root.getRhs()).getElementType()))
    return rewriter.notifyMatchFailure(root, "operands are not f32");
  return missed(rewriter, root, Miss::TypeMismatch, "the product with a weight is not computed in f32", "export the model in f32 or f16");
}

/// Graphs in f16 and bf16 widen what they store in front of products in f32. Projections take it as it is stored: the cast is exact, and would double what is read.
Value asStored(Value weight) {
  auto cast = weight.getDefiningOp<llm::CastOp>();
  bool widens = cast && llm::isStoredWeight(cast.getInput()) && isa<Float16Type, BFloat16Type>(typeOf(cast.getInput()).getElementType());
  return widens ? cast.getInput() : weight;
}

struct ToLinear : OpRewritePattern<llm::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MatMulOp root, PatternRewriter &rewriter) const override {
    auto input = typeOf(root.getLhs()), weight = typeOf(root.getRhs());
    if (!isa<Float32Type>(input.getElementType()) || !isa<Float32Type>(weight.getElementType()))
      return explainTypes(root, rewriter);
    if (weight.getRank() != 2 || !weight.hasStaticShape() || weight.getNumElements() == 0 || input.getRank() < 2)
      return rewriter.notifyMatchFailure(root, "right operand is not a matrix of known size");
    if (!llm::isWeightExpression(root.getRhs()) || llm::isWeightExpression(root.getLhs()))
      return rewriter.notifyMatchFailure(root, "right operand is not a weight");
    rewriter.replaceOpWithNewOp<llm::LinearOp>(root, root.getType(), root.getLhs(), asStored(root.getRhs()), Value(), /*transposed=*/true);
    return success();
  }
};

struct JoinBias : OpRewritePattern<llm::AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::AddOp root, PatternRewriter &rewriter) const override {
    auto linear = root.getLhs().getDefiningOp<llm::LinearOp>();
    Value bias = root.getRhs();
    if (!linear) {
      linear = root.getRhs().getDefiningOp<llm::LinearOp>();
      bias = root.getLhs();
    }
    if (!linear || linear.getBias() || !linear->hasOneUse())
      return rewriter.notifyMatchFailure(root, "not the only use of a linear without bias");
    if (!isRowVector(bias, linear.getResult()) || !llm::isWeightExpression(bias) || linear.getType() != root.getType())
      return rewriter.notifyMatchFailure(root, "the other operand is not a vector of the linear's outputs");
    DictionaryAttr others = linear->getDiscardableAttrDictionary();
    rewriter.replaceOpWithNewOp<llm::LinearOp>(root, root.getType(), linear.getInput(), linear.getWeight(), bias, linear.getTransposed())->setDiscardableAttrs(others);
    return success();
  }
};

/// (%y + residual) + %b, where the bias comes after a residual sum: it goes to the linear all the same.
struct JoinBiasBehindSum : OpRewritePattern<llm::AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::AddOp root, PatternRewriter &rewriter) const override {
    for (Value side : {root.getLhs(), root.getRhs()}) {
      auto sum = side.getDefiningOp<llm::AddOp>();
      Value bias = side == root.getLhs() ? root.getRhs() : root.getLhs();
      if (!sum || !sum->hasOneUse() || sum.getType() != root.getType())
        continue;
      for (Value term : {sum.getLhs(), sum.getRhs()}) {
        auto linear = term.getDefiningOp<llm::LinearOp>();
        if (!linear || linear.getBias() || !linear->hasOneUse() || linear.getType() != root.getType() || !isRowVector(bias, term) ||
            !llm::isWeightExpression(bias))
          continue;
        Value residual = otherOperand(sum, term);
        auto joined = llm::LinearOp::create(rewriter, linear.getLoc(), linear.getType(), linear.getInput(), linear.getWeight(), bias,
                                            linear.getTransposed());
        joined->setDiscardableAttrs(linear->getDiscardableAttrDictionary());
        rewriter.replaceOpWithNewOp<llm::AddOp>(root, root.getType(), joined, residual);
        return success();
      }
    }
    return rewriter.notifyMatchFailure(root, "not a sum with a linear without bias, plus a vector of its outputs");
  }
};

} // namespace

namespace llmopt::fusion {
void addMatMulToLinear(RewritePatternSet &patterns) {
  patterns.add<ToLinear, JoinBias, JoinBiasBehindSum>(patterns.getContext());
}
} // namespace llmopt::fusion
