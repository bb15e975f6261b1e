//===- SplitPackedLinear.cpp - projections packed in one matrix ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %p = llm.linear %x, %w                        %q = llm.linear %x, %w[.. : N]
//   %q = %p[.. : N]; %k = %p[N : M]; ..    ==>    %k = llm.linear %x, %w[N : M]; ..
//
// which is how models are written that keep queries, keys and values, or gate and up projection, apart; one kernel computes them
// either way. The matrix is cut when the artifact is written, and there is one copy of it.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/Rotation.h"

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// The root is the slice of the first columns.
struct Fuse : OpRewritePattern<llm::SliceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(llm::SliceOp root, PatternRewriter &rewriter) const override {
    auto packed = root.getInput().getDefiningOp<llm::LinearOp>();
    if (!packed)
      return rewriter.notifyMatchFailure(root, "not a slice of a projection");
    SmallVector<std::pair<Operation *, LastAxisSlice>> parts;
    Operation *other = nullptr;
    for (Operation *user : packed->getUsers())
      if (auto range = user->getNumResults() == 1 ? LastAxisSlice::match(user->getResult(0)) : std::nullopt; range && range->input == packed.getResult())
        parts.emplace_back(user, *range);
      else
        other = user;
    if (parts.size() < 2)
      return rewriter.notifyMatchFailure(root, "not of a projection of which several ranges of columns are read");
    llvm::sort(parts, [](auto &a, auto &b) { return a.second.begin < b.second.begin; });
    if (parts.front().first != root)
      return rewriter.notifyMatchFailure(root, "not the first part");
    if (other)
      return missed(rewriter, other, Miss::MultiUse, "the packed projection is read here as well", "read its parts only");
    for (size_t i = 0; i < parts.size(); ++i)
      if (parts[i].second.step != 1 || (i > 0 && parts[i - 1].second.end > parts[i].second.begin))
        return missed(rewriter, parts[i].first, Miss::OtherOperand, "the parts are not ranges of columns apart from each other", "put one behind the other");
    if (!isa<FloatType>(typeOf(packed.getWeight()).getElementType()))
      return missed(rewriter, packed.getWeight(), Miss::TypeMismatch, "the weight's type cannot be cut", "keep the projections apart in the model");
    for (auto [slice, range] : parts)
      rewriter.replaceOp(slice, part(rewriter, packed, range, slice->getResult(0).getType()));
    return success();
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
    auto cut = llm::LinearOp::create(rewriter, loc, type, packed.getInput(), weight, bias, packed.getTransposed());
    cut->setDiscardableAttrs(packed->getDiscardableAttrDictionary());
    return cut;
  }
};

} // namespace

namespace llmopt::fusion {
void addSplitPackedLinear(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
