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
#include "passes/Fusion/Match.h"

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
    if (!mean || !reducesLastAxis(mean, llm::ReduceKind::mean) || mean.getInput() != centered.getLhs())
      return rewriter.notifyMatchFailure(root, "mean does not run over the last axis of the same value");
    auto squared = meanOfSquare(normalized->under.value).template getDefiningOp<llm::SubOp>();
    if (!squared || squared.getLhs() != centered.getLhs() || squared.getRhs() != centered.getRhs())
      return rewriter.notifyMatchFailure(root, "variance is not that of the numerator");
    if (root.getType() != centered.getLhs().getType())
      return rewriter.notifyMatchFailure(root, "the result has another shape than the input");
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, root.getType(), centered.getLhs(), Value(), Value(),
                                                  rewriter.getF32FloatAttr(float(normalized->under.epsilon)));
    return success();
  }
};

struct JoinScale : OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MulOp root, PatternRewriter &rewriter) const override {
    auto norm = root.getLhs().getDefiningOp<llm::LayerNormOp>();
    Value scale = root.getRhs();
    if (!norm) {
      norm = root.getRhs().getDefiningOp<llm::LayerNormOp>();
      scale = root.getLhs();
    }
    if (!norm || norm.getScale() || norm.getBias() || !norm->hasOneUse() || !isRowVector(scale, norm.getInput()))
      return rewriter.notifyMatchFailure(root, "not a layer_norm without scale times a vector of its row");
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, norm.getType(), norm.getInput(), scale, Value(), norm.getEpsilonAttr());
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
      return rewriter.notifyMatchFailure(root, "not a layer_norm without bias plus a vector of its row");
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, norm.getType(), norm.getInput(), norm.getScale(), bias, norm.getEpsilonAttr());
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseLayerNorm(RewritePatternSet &patterns) {
  patterns.add<Normalize<llm::DivOp>, Normalize<llm::MulOp>, JoinScale, JoinBias>(patterns.getContext());
}
} // namespace llmopt::fusion
