//===- FuseLayerNorm.cpp - layer normalization ------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %c = %x - mean(%x)                              %y = llm.layer_norm %x scale %w bias %b {epsilon}
//   %y = %c / sqrt(mean(%c^2) + eps) * %w + %b  ==>
// Scale and bias join afterwards, each by a pattern of its own, when the norm has no other use.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/JoinScale.h"

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

template <typename RootOp>
struct Normalize : OpRewritePattern<RootOp> {
  using OpRewritePattern<RootOp>::OpRewritePattern;
  LogicalResult matchAndRewrite(RootOp root, PatternRewriter &rewriter) const override {
    auto normalized = matchNormalized(root);
    if (!normalized)
      return rewriter.notifyMatchFailure(root, "not a quotient by sqrt(y + epsilon)");
    auto centered = normalized->numerator.template getDefiningOp<llm::SubOp>();
    if (!centered)
      return rewriter.notifyMatchFailure(root, "numerator is not x - mean(x)");
    auto mean = centered.getRhs().template getDefiningOp<llm::ReduceOp>();
    if (!mean)
      return rewriter.notifyMatchFailure(root, "numerator is not x - mean(x)");
    if (!reducesLastAxis(mean, llm::ReduceKind::mean) || mean.getInput() != centered.getLhs())
      return missed(rewriter, mean, Miss::OtherAxis, "the mean does not run over the last axis of the value it is taken from",
                    "reduce axis -1 with keepdims");
    auto variance = matchVariance(normalized->under.value);
    if (!variance || variance->of != centered.getLhs() || variance->mean != centered.getRhs())
      return missed(rewriter, normalized->under.value, Miss::OtherOperand, "the variance is not that of the numerator over the last axis",
                    "compute the variance from x - mean(x)");
    if (root.getType() != centered.getLhs().getType())
      return missed(rewriter, root, Miss::ShapeMismatch, "the result has another shape than the input", "divide tensors of one shape");
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, root.getType(), centered.getLhs(), Value(), Value(),
                                                  rewriter.getF32FloatAttr(float(normalized->under.epsilon)));
    return success();
  }
};

struct JoinBias : OpRewritePattern<llm::AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::AddOp root, PatternRewriter &rewriter) const override {
    auto norm = root.getLhs().getDefiningOp<llm::LayerNormOp>();
    Value bias = root.getRhs();
    if (!norm) {
      norm = root.getRhs().getDefiningOp<llm::LayerNormOp>();
      bias = root.getLhs();
    }
    if (!norm || norm.getBias() || !norm->hasOneUse() || !isRowVector(bias, norm.getInput()))
      return rewriter.notifyMatchFailure(root, "not a layer_norm without bias plus a vector of its row"); // a residual sum, most often
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, norm.getType(), norm.getInput(), norm.getScale(), bias, norm.getEpsilonAttr());
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseLayerNorm(RewritePatternSet &patterns) {
  patterns.add<Normalize<llm::DivOp>, Normalize<llm::MulOp>, JoinScale<llm::LayerNormOp>, JoinBias>(patterns.getContext());
}
} // namespace llmopt::fusion
