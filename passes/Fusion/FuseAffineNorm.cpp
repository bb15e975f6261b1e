//===- FuseAffineNorm.cpp - layer normalization as one factor and one summand ==//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %m = mean(%x); %g = %w / sqrt(mean((%x - %m)^2) + eps)
//   %y = %x * %g + (%b - %m * %g)                              ==>   %y = llm.layer_norm %x scale %w bias %b {epsilon}
//
// which is how TensorFlow's batch_normalization is written, and so what keras2onnx and tf2onnx make of LayerNormalization.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// w / sqrt(y + epsilon); the scale is null where the factor is the inverse root alone.
struct Factor {
  Value scale;
  PlusEpsilon under;
};

std::optional<Factor> matchFactor(Value value) {
  if (auto under = underInverseRoot(value))
    return Factor{{}, *under};
  auto product = value.getDefiningOp<llm::MulOp>();
  for (Value side : product ? ValueRange(product->getOperands()) : ValueRange())
    if (auto under = underInverseRoot(side))
      return Factor{otherOperand(product, side), *under};
  return std::nullopt;
}

/// bias - mean * factor, also as -mean * factor + bias.
struct Shift {
  Value bias, mean;
};

std::optional<Shift> matchShift(Value value, Value factor) {
  if (auto difference = value.getDefiningOp<llm::SubOp>())
    if (auto product = difference.getRhs().getDefiningOp<llm::MulOp>())
      if (Value mean = otherOperand(product, factor))
        return Shift{difference.getLhs(), mean};
  auto sum = value.getDefiningOp<llm::AddOp>();
  for (Value side : sum ? ValueRange(sum->getOperands()) : ValueRange())
    if (auto product = side.getDefiningOp<llm::MulOp>())
      if (Value other = otherOperand(product, factor))
        if (auto negated = other.getDefiningOp<llm::NegOp>())
          return Shift{otherOperand(sum, side), negated.getInput()};
  return std::nullopt;
}

struct Fuse : OpRewritePattern<llm::AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::AddOp root, PatternRewriter &rewriter) const override {
    for (Value side : root->getOperands()) {
      auto scaled = side.getDefiningOp<llm::MulOp>();
      for (Value factor : scaled ? ValueRange(scaled->getOperands()) : ValueRange()) {
        auto found = matchFactor(factor);
        auto shift = found ? matchShift(otherOperand(root, side), factor) : std::nullopt;
        if (shift)
          return fuse(root, otherOperand(scaled, factor), shift->mean, *found, shift->bias, rewriter);
      }
    }
    return rewriter.notifyMatchFailure(root, "not x * g + (b - m * g)");
  }

private:
  static LogicalResult fuse(llm::AddOp root, Value x, Value mean, const Factor &factor, Value bias, PatternRewriter &rewriter) {
    if (averaged(mean) != x)
      return missed(rewriter, mean, Miss::OtherOperand, "what is taken off is not the mean of the value over its last axis", "reduce axis -1 with keepdims");
    auto variance = matchVariance(factor.under.value);
    if (!variance || variance->of != x || variance->mean != mean)
      return missed(rewriter, factor.under.value, Miss::OtherOperand, "the variance is not that of the value over its last axis",
                    "compute the variance from x - mean(x)");
    for (Value vector : {factor.scale, bias})
      if (vector && !isRowVector(vector, x))
        return missed(rewriter, vector, typeMismatchOr(vector, x, Miss::ShapeMismatch),
                      "scale or bias is no vector as long as the last dimension, of the input's type", "use vectors of one row's size and type");
    if (root.getType() != x.getType())
      return missed(rewriter, root, Miss::ShapeMismatch, "the result has another shape than the input", "keep the shape");
    rewriter.replaceOpWithNewOp<llm::LayerNormOp>(root, root.getType(), x, factor.scale, bias,
                                                  rewriter.getF32FloatAttr(float(factor.under.epsilon)));
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseAffineNorm(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
