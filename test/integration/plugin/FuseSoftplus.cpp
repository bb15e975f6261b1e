//===- FuseSoftplus.cpp - softplus from its formula -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %e = llm.exp %x
//   %s = llm.add %e, 1        ==>   %y = llm.softplus %x
//   %y = llm.log %s
// Does not fuse when %e or %s is read elsewhere: both versions would then compute the exponential.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"
#include "llmopt/passes/Plugin.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

struct Fuse : OpRewritePattern<llm::LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::LogOp root, PatternRewriter &rewriter) const override {
    // Look: bind every part of the formula.
    auto sum = root.getInput().getDefiningOp<llm::AddOp>();
    auto exponential = sum ? sum.getLhs().getDefiningOp<llm::ExpOp>() : llm::ExpOp();
    if (!exponential)
      return rewriter.notifyMatchFailure(root, "not the logarithm of exp(x) plus something");
    // Half of it is there: from now on the user may want to know.
    if (!isSplat(sum.getRhs(), 1.0))
      return missed(rewriter, sum, Miss::OtherConstant, "what is added to exp(x) is not 1", "write log(1 + exp(x))");
    for (Operation *inner : {sum.getOperation(), exponential.getOperation()})
      if (!inner->hasOneUse())
        return missed(rewriter, inner, Miss::MultiUse, "the value is read elsewhere as well", "use it once");
    if (root.getType() != exponential.getType())
      return missed(rewriter, sum, Miss::ShapeMismatch, "adding 1 changes the shape", "add a scalar");
    // Touch: one replacement, through the rewriter.
    rewriter.replaceOpWithNewOp<llm::SoftplusOp>(root, root.getType(), exponential.getInput());
    return success();
  }
};

void addPatterns(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }

} // namespace

LLMOPT_FUSION_PLUGIN("fuse-softplus", 1, "log(1 + exp(x)) -> softplus", addPatterns)
