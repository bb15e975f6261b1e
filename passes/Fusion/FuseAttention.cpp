//===- FuseAttention.cpp - attention in the exporters' spellings -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.matmul %q, transpose(%k)
//   %p = llm.softmax (%s * scale + %mask)      ==>      %y = llm.attention %q, %k, %v mask %mask {scale}
//   %y = llm.matmul %p, %v
// What may stand between product and softmax is in AttentionScores.h. The scale may sit on queries and keys, in parts. Keys and values that were repeated for groups of queries are taken before the
// repetition. `select(isnan(%p), 0, %p)`, which gives zeros where everything is masked, is what llm.attention does.
// Does not fuse when scores or weights are used elsewhere (a model that returns its attention weights).
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/AttentionScores.h"

#include "llmopt/passes/Match.h"

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// softmax, perhaps under the guard against rows of NaN.
llm::SoftmaxOp softmaxUnder(Value weights) {
  if (auto guard = weights.getDefiningOp<llm::SelectOp>()) {
    auto test = guard.getCondition().getDefiningOp<llm::IsNanOp>();
    auto softmax = guard.getRhs().getDefiningOp<llm::SoftmaxOp>();
    bool zero = splatOf(guard.getLhs()) == 0.0;
    bool only = softmax && test && llvm::all_of(softmax->getUsers(), [&](Operation *user) { return user == guard || user == test; });
    return zero && only && test.getInput() == softmax.getResult() && test->hasOneUse() && guard->hasOneUse() ? softmax : llm::SoftmaxOp();
  }
  auto softmax = weights.getDefiningOp<llm::SoftmaxOp>();
  return softmax && softmax->hasOneUse() ? softmax : llm::SoftmaxOp();
}

/// %k before it was repeated to [B, G * R, T, D] by expand_dims, broadcast and reshape; null if it was not.
Value beforeRepetition(Value value) {
  auto reshape = value.getDefiningOp<llm::ReshapeOp>();
  auto broadcast = reshape ? reshape.getInput().getDefiningOp<llm::BroadcastOp>() : llm::BroadcastOp();
  auto expand = broadcast ? broadcast.getInput().getDefiningOp<llm::ExpandDimsOp>() : llm::ExpandDimsOp();
  if (!expand || expand.getAxes() != ArrayRef<int64_t>{2} || typeOf(expand.getInput()).getRank() != 4 || typeOf(value).getRank() != 4)
    return {};
  auto repeated = typeOf(broadcast), joined = typeOf(value), input = typeOf(expand.getInput());
  bool heads = repeated.getRank() == 5 && !repeated.isDynamicDim(1) && !repeated.isDynamicDim(2) && !joined.isDynamicDim(1) &&
               repeated.getDimSize(1) == input.getDimSize(1) && repeated.getDimSize(1) * repeated.getDimSize(2) == joined.getDimSize(1);
  return heads && joined.getDimSize(3) == input.getDimSize(3) && !joined.isDynamicDim(3) ? expand.getInput() : Value();
}

/// Says why the left operand is not a softmax, where it comes from one.
LogicalResult explainSoftmax(llm::MatMulOp root, PatternRewriter &rewriter) {
  Value value = root.getLhs();
  for (int depth = 0; depth < 3 && value.getDefiningOp() && value.getDefiningOp()->getNumOperands() > 0; ++depth) {
    Operation *op = value.getDefiningOp();
    if (auto softmax = dyn_cast<llm::SoftmaxOp>(op)) {
      if (depth == 0)
        return missed(rewriter, otherUser(softmax, root), Miss::MultiUse, "the attention weights are read here as well", "do not return or reuse the weights");
      return missed(rewriter, root.getLhs(), Miss::OtherOp, "this operation stands between the softmax and the product with the values",
                    "remove it: no cast, no scale and no dropout there");
    }
    value = op->getOperand(isa<llm::SelectOp>(op) ? 2 : 0);
  }
  return rewriter.notifyMatchFailure(root, "left operand is not the softmax of a row, for this product alone");
}

struct Attention {
  Value query, key, value;
  double scale = 1;
};

struct Fuse : OpRewritePattern<llm::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(llm::MatMulOp root, PatternRewriter &rewriter) const override {
    llm::SoftmaxOp softmax = softmaxUnder(root.getLhs());
    auto type = typeOf(root);
    if (!softmax)
      return explainSoftmax(root, rewriter);
    if (type.getRank() != 4 || softmax.getAxis() != 3)
      return missed(rewriter, softmax, type.getRank() != 4 ? Miss::ShapeMismatch : Miss::OtherAxis,
                    "the softmax is not over the last of four dimensions", "write attention on [batch, heads, tokens, size]");
    if (!type.getElementType().isF32())
      return missed(rewriter, root, Miss::TypeMismatch, "the product is not computed in f32", "export the model in f32 or f16");
    AttentionScores scores;
    if (!scores.match(softmax.getInput()))
      return missed(rewriter, scores.stoppedAt(), scores.stoppedAt().hasOneUse() ? Miss::OtherOp : Miss::MultiUse,
                    scores.stoppedAt().hasOneUse() ? "no way from the softmax down to a product of queries and keys"
                                                   : "the scores are read elsewhere as well",
                    "between the product and the softmax leave only scales, caps and masks, each used once");
    Attention found;
    found.query = withoutScale(scores.product.getLhs(), found.scale);
    Value keys = withoutScale(scores.product.getRhs(), found.scale);
    if (typeOf(found.query).getRank() != 4 || typeOf(keys).getRank() != 4 || typeOf(root.getRhs()).getRank() != 4)
      return missed(rewriter, scores.product, Miss::ShapeMismatch, "queries, keys or values are not [batch, heads, tokens, size]", "give them four dimensions");

    found.key = untransposed(keys);
    found.value = root.getRhs();
    Value sharedKey = found.key ? beforeRepetition(found.key) : Value(), sharedValue = beforeRepetition(found.value);
    if (sharedKey && sharedValue && typeOf(sharedKey).getDimSize(1) == typeOf(sharedValue).getDimSize(1))
      found.key = sharedKey, found.value = sharedValue;
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    if (!dimensionsAgree(found, keys, shapes))
      return missed(rewriter, scores.product, Miss::ShapeUnknown, "batch, heads or tokens of queries, keys and values are not proven to agree",
                    "name equal dimensions alike, or fix them with --dim");
    if (!found.key)
      found.key = transposeKeys(rewriter, keys);
    scores.build(rewriter, shapes);
    rewriter.replaceOpWithNewOp<llm::AttentionOp>(
        root, root.getType(), found.query, found.key, found.value, scores.mask,
        rewriter.getF32FloatAttr(float(scores.scale * found.scale)), UnitAttr(), rewriter.getI64IntegerAttr(0),
        rewriter.getF32FloatAttr(float(scores.softcap)));
    return success();
  }

private:
  /// The value whose transposition of the last two dimensions is `keys`, if it is there already.
  static Value untransposed(Value keys) {
    auto transpose = keys.getDefiningOp<llm::TransposeOp>();
    return transpose && transpose.getPermutation() == ArrayRef<int64_t>{0, 1, 3, 2} ? transpose.getInput() : Value();
  }

  /// [B, H, D, T] as [B, H, T, D]; a transposition that made the former is not repeated but replaced.
  static Value transposeKeys(PatternRewriter &rewriter, Value keys) {
    SmallVector<int64_t> permutation{0, 1, 3, 2};
    auto type = typeOf(keys);
    auto swapped = RankedTensorType::get({type.getDimSize(0), type.getDimSize(1), type.getDimSize(3), type.getDimSize(2)}, type.getElementType());
    if (auto transpose = keys.getDefiningOp<llm::TransposeOp>()) {
      permutation.assign(transpose.getPermutation().begin(), transpose.getPermutation().end());
      std::swap(permutation[2], permutation[3]);
      keys = transpose.getInput();
    }
    return llm::TransposeOp::create(rewriter, keys.getLoc(), swapped, keys, rewriter.getDenseI64ArrayAttr(permutation));
  }

  static bool dimensionsAgree(const Attention &found, Value keys, ShapeAnalysis &shapes) {
    auto dims = [&](Value value) { return shapes.shapeOf(value).dims; };
    auto query = dims(found.query), value = dims(found.value);
    auto key = dims(found.key ? found.key : keys);
    if (!found.key)
      std::swap(key[2], key[3]);
    auto heads = query[1].constant(), shared = key[1].constant();
    return query[0] == key[0] && query[0] == value[0] && key[2] == value[2] && key[1] == value[1] && query[3] == key[3] &&
           query[3].constant() && value[3].constant() && heads && shared && *shared > 0 && *heads % *shared == 0;
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseAttention(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
