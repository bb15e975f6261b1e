//===- SplitGatedLinear.cpp - gate and up projection in one matrix ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %p = llm.linear %x, %w                       %g = llm.linear %x, %w[.. : N]
//   %y = act(%p[.. : N]) * %p[N : ..]     ==>    %u = llm.linear %x, %w[N : ..];  %y = act(%g) * %u
//
// which is how models are written that keep the two apart; one kernel computes them either way. The matrix is cut when the artifact
// is written, and there is one copy of it.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/Rotation.h"

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

struct Fuse : OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(llm::MulOp root, PatternRewriter &rewriter) const override {
    for (auto [gate, up] : {std::pair(root.getLhs(), root.getRhs()), {root.getRhs(), root.getLhs()}}) {
      Operation *activation = gate.getDefiningOp();
      if (!activation || !activation->hasTrait<llm::Elementwise>() || activation->getNumOperands() != 1)
        continue;
      auto first = LastAxisSlice::match(activation->getOperand(0)), second = LastAxisSlice::match(up);
      auto packed = first ? first->input.getDefiningOp<llm::LinearOp>() : llm::LinearOp();
      if (!packed || !second || second->input != first->input)
        continue;
      if (first->step != 1 || second->step != 1 || (first->end > second->begin && second->end > first->begin))
        return missed(rewriter, packed, Miss::OtherOperand, "gate and up projection are not two ranges of its columns", "put one behind the other");
      Operation *gateSlice = activation->getOperand(0).getDefiningOp(), *upSlice = up.getDefiningOp();
      for (Operation *user : packed->getUsers())
        if (user != gateSlice && user != upSlice)
          return missed(rewriter, user, Miss::MultiUse, "the packed projection is read here as well", "read gate and up projection only");
      rewriter.replaceOp(upSlice, part(rewriter, packed, *second, upSlice->getResult(0).getType()));
      rewriter.replaceOp(gateSlice, part(rewriter, packed, *first, gateSlice->getResult(0).getType()));
      return success();
    }
    return rewriter.notifyMatchFailure(root, "not an activation of one part of a projection, times another part");
  }

private:
  /// The columns of the projection that `range` takes.
  static Value part(PatternRewriter &rewriter, llm::LinearOp packed, const LastAxisSlice &range, Type type) {
    PatternRewriter::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(packed);
    Location loc = packed.getLoc();
    auto index = [&](int64_t value) -> Value {
      return llm::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(RankedTensorType::get({1}, rewriter.getI64Type()), value));
    };
    auto columns = [&](Value weight, int64_t axis) -> Value {
      SmallVector<int64_t> shape(typeOf(weight).getShape());
      shape[size_t(axis)] = range.end - range.begin;
      return llm::SliceOp::create(rewriter, loc, typeOf(weight).clone(shape), weight, index(range.begin), index(range.end), rewriter.getDenseI64ArrayAttr({axis}),
                                  rewriter.getDenseI64ArrayAttr({1}));
    };
    Value weight = columns(packed.getWeight(), packed.getTransposed() ? 1 : 0);
    Value bias = packed.getBias() ? columns(packed.getBias(), 0) : Value();
    return llm::LinearOp::create(rewriter, loc, type, packed.getInput(), weight, bias, packed.getTransposed());
  }
};

} // namespace

namespace llmopt::fusion {
void addSplitGatedLinear(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
