//===- FuseQuickGelu.cpp - x * sigmoid(c * x) ------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = %x * llm.sigmoid(%x * 1.702)   ==>   %y = llm.silu(%x * 1.702) * (1 / 1.702)
//
// CLIP's activation. In a chain in which each value has one reader it becomes the epilogue of the product before it.
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
    for (Value side : root->getOperands()) {
      auto sigmoid = side.getDefiningOp<llm::SigmoidOp>();
      auto scaled = sigmoid ? sigmoid.getInput().getDefiningOp<llm::MulOp>() : llm::MulOp();
      Value x = otherOperand(root, side);
      Value factor = scaled ? otherOperand(scaled, x) : Value();
      auto number = factor ? splatOf(factor) : std::nullopt;
      if (!number || *number == 0 || scaled.getType() != x.getType() || !typeOf(x).getElementType().isF32())
        continue;
      if (!sigmoid->hasOneUse())
        return missed(rewriter, otherUser(sigmoid, root), Miss::MultiUse, "the sigmoid is read here as well", "use it for x alone");
      Value silu = llm::SiluOp::create(rewriter, root.getLoc(), scaled.getType(), scaled);
      auto scalar = RankedTensorType::get({}, rewriter.getF32Type());
      Value inverse = llm::ConstantOp::create(rewriter, root.getLoc(), DenseElementsAttr::get(scalar, float(1 / *number)));
      rewriter.replaceOpWithNewOp<llm::MulOp>(root, root.getType(), silu, inverse);
      return success();
    }
    return rewriter.notifyMatchFailure(root, "not x * sigmoid(c * x)");
  }
};
} // namespace

namespace llmopt::fusion {
void addFuseQuickGelu(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
