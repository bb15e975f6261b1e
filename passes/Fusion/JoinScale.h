//===- JoinScale.h - a norm takes in its scale ----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_JOINSCALE_H
#define LLMOPT_PASSES_FUSION_JOINSCALE_H

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

namespace llmopt::fusion {

/// norm(%x) * %w becomes norm %x scale %w, if nobody else reads the norm.
template <typename NormOp>
struct JoinScale : mlir::OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;
  mlir::LogicalResult matchAndRewrite(llm::MulOp root, mlir::PatternRewriter &rewriter) const override {
    auto norm = root.getLhs().getDefiningOp<NormOp>();
    mlir::Value scale = root.getRhs();
    if (!norm) {
      norm = root.getRhs().getDefiningOp<NormOp>();
      scale = root.getLhs();
    }
    if (!norm || norm->getNumOperands() > 1)
      return rewriter.notifyMatchFailure(root, "not a norm without scale and bias times something");
    if (!norm->hasOneUse())
      return missed(rewriter, otherUser(norm, root), Miss::MultiUse, "the norm without its scale is read here as well", "use the scaled norm, or none");
    if (!isRowVector(scale, norm.getInput()))
      return missed(rewriter, scale, typeMismatchOr(scale, norm.getInput(), Miss::ShapeMismatch),
                    "the scale is no vector as long as the last dimension, of the input's type", "multiply by a vector of one row's size and type");
    auto joined = llvm::cast<NormOp>(rewriter.clone(*norm));
    joined.getScaleMutable().assign(scale);
    joined->setLoc(root.getLoc());
    rewriter.replaceOp(root, joined);
    return mlir::success();
  }
};

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_JOINSCALE_H
