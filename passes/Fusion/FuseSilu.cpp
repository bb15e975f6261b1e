//===- FuseSilu.cpp - x * sigmoid(x) ---------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = %x * llm.sigmoid(%x)   ==>   %y = llm.silu %x
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {
struct Fuse : OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MulOp root, PatternRewriter &rewriter) const override {
    for (Value side : {root.getLhs(), root.getRhs()})
      if (auto sigmoid = side.getDefiningOp<llm::SigmoidOp>(); sigmoid && otherOperand(root, side) == sigmoid.getInput()) {
        if (!sigmoid->hasOneUse())
          return missed(rewriter, otherUser(sigmoid, root), Miss::MultiUse, "the sigmoid is read here as well", "use it for x alone");
        rewriter.replaceOpWithNewOp<llm::SiluOp>(root, root.getType(), sigmoid.getInput());
        return success();
      }
    return rewriter.notifyMatchFailure(root, "not x * sigmoid(x)");
  }
};
} // namespace

namespace llmopt::fusion {
void addFuseSilu(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
