//===- FuseRMSNorm.cpp - root mean square normalization ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = %x * rsqrt(mean(%x^2) + eps) * %w   ==>   %y = llm.rms_norm %x scale %w {epsilon}
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
    if (meanOfSquare(normalized->under.value) != normalized->numerator)
      return rewriter.notifyMatchFailure(root, "not the mean square of the numerator's last axis");
    if (root.getType() != normalized->numerator.getType())
      return rewriter.notifyMatchFailure(root, "the result has another shape than the input");
    rewriter.replaceOpWithNewOp<llm::RMSNormOp>(root, root.getType(), normalized->numerator, Value(),
                                                rewriter.getF32FloatAttr(float(normalized->under.epsilon)),
                                                rewriter.getF32FloatAttr(0.0f));
    return success();
  }
};

struct JoinScale : OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MulOp root, PatternRewriter &rewriter) const override {
    auto norm = root.getLhs().getDefiningOp<llm::RMSNormOp>();
    Value scale = root.getRhs();
    if (!norm) {
      norm = root.getRhs().getDefiningOp<llm::RMSNormOp>();
      scale = root.getLhs();
    }
    if (!norm || norm.getScale() || !norm->hasOneUse() || !isRowVector(scale, norm.getInput()))
      return rewriter.notifyMatchFailure(root, "not an rms_norm without scale times a vector of its row");
    rewriter.replaceOpWithNewOp<llm::RMSNormOp>(root, norm.getType(), norm.getInput(), scale, norm.getEpsilonAttr(), norm.getOffsetAttr());
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseRMSNorm(RewritePatternSet &patterns) {
  patterns.add<Normalize<llm::DivOp>, Normalize<llm::MulOp>, JoinScale>(patterns.getContext());
}
} // namespace llmopt::fusion
