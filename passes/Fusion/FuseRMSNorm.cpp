//===- FuseRMSNorm.cpp - root mean square normalization ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = %x * rsqrt(mean(%x^2) + eps) * %w   ==>   %y = llm.rms_norm %x scale %w {epsilon}
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/JoinScale.h"

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// Says why `value` is not the mean of `x` squared.
LogicalResult explainMeanSquare(Value value, Value x, PatternRewriter &rewriter) {
  auto mean = value.getDefiningOp<llm::ReduceOp>();
  if (!mean || mean.getKind() != llm::ReduceKind::mean)
    return rewriter.notifyMatchFailure(value.getLoc(), "no mean under the root");
  if (!reducesLastAxis(mean, llm::ReduceKind::mean))
    return missed(rewriter, mean, Miss::OtherAxis, "the mean does not run over the last axis alone, keeping it", "reduce axis -1 with keepdims");
  if (meanOfSquare(value))
    return missed(rewriter, mean, Miss::OtherOperand, "the mean is over the square of another value than the one that is divided", "normalize the value itself");
  return missed(rewriter, mean, Miss::OtherOp, "the mean is not over a square", "write x * x, or pow(x, 2)");
}

template <typename RootOp>
struct Normalize : OpRewritePattern<RootOp> {
  using OpRewritePattern<RootOp>::OpRewritePattern;
  LogicalResult matchAndRewrite(RootOp root, PatternRewriter &rewriter) const override {
    auto normalized = matchNormalized(root);
    if (!normalized)
      return rewriter.notifyMatchFailure(root, "not a quotient by sqrt(y + epsilon)");
    if (meanOfSquare(normalized->under.value) != normalized->numerator) {
      auto centered = normalized->numerator.template getDefiningOp<llm::SubOp>();
      if (centered && centered.getRhs().template getDefiningOp<llm::ReduceOp>())
        return rewriter.notifyMatchFailure(root, "a layer norm");
      return explainMeanSquare(normalized->under.value, normalized->numerator, rewriter);
    }
    if (root.getType() != normalized->numerator.getType())
      return missed(rewriter, root, Miss::ShapeMismatch, "the result has another shape than the input", "divide tensors of one shape");
    rewriter.replaceOpWithNewOp<llm::RMSNormOp>(root, root.getType(), normalized->numerator, Value(),
                                                rewriter.getF32FloatAttr(float(normalized->under.epsilon)),
                                                rewriter.getF32FloatAttr(0.0f));
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseRMSNorm(RewritePatternSet &patterns) {
  patterns.add<Normalize<llm::DivOp>, Normalize<llm::MulOp>, JoinScale<llm::RMSNormOp>>(patterns.getContext());
}
} // namespace llmopt::fusion
