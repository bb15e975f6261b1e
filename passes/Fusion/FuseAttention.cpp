//===- FuseAttention.cpp - attention in the exporters' spellings -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.matmul %q, transpose(%k)
//   %p = llm.softmax (%s * scale + %mask)      ==>      %y = llm.attention %q, %k, %v mask %mask {scale}
//   %y = llm.matmul %p, %v
// The scale may sit on queries and keys, in parts. Keys and values that were repeated for groups of queries are taken before the
// repetition. `select(isnan(%p), 0, %p)`, which gives zeros where everything is masked, is what llm.attention does.
// Does not fuse when scores or weights are used elsewhere (a model that returns its attention weights).
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// Numbers this far down make any score vanish when added, so that adding and replacing are the same.
constexpr double kVanishes = -1e30;

/// Takes factors that are one number off a value, and multiplies `scale` by them.
Value withoutScale(Value value, double &scale) {
  while (true) {
    if (auto product = value.getDefiningOp<llm::MulOp>()) {
      auto right = splatOf(product.getRhs()), left = splatOf(product.getLhs());
      Value next = right ? product.getLhs() : left ? product.getRhs() : Value();
      if (!next || next.getType() != value.getType())
        return value;
      scale *= right ? *right : *left;
      value = next;
    } else if (auto quotient = value.getDefiningOp<llm::DivOp>()) {
      auto divisor = splatOf(quotient.getRhs());
      if (!divisor || *divisor == 0 || quotient.getLhs().getType() != value.getType())
        return value;
      scale /= *divisor;
      value = quotient.getLhs();
    } else {
      return value;
    }
  }
}

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
  Value query, key, value, mask;
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
    Value scores = softmax.getInput();
    SmallVector<Value> added;
    llm::MatMulOp product = peelMasks(scores, added);
    Attention found;
    if (!product)
      return missed(rewriter, scores, scores.hasOneUse() ? Miss::OtherOp : Miss::MultiUse,
                    scores.hasOneUse() ? "no way from the softmax down to a product of queries and keys" : "the scores are read elsewhere as well",
                    "between the product and the softmax leave only a scale by one number and added masks, each used once");
    scores = withoutScale(scores, found.scale);
    found.query = withoutScale(product.getLhs(), found.scale);
    Value keys = withoutScale(product.getRhs(), found.scale);
    if (typeOf(found.query).getRank() != 4 || typeOf(keys).getRank() != 4 || typeOf(root.getRhs()).getRank() != 4)
      return missed(rewriter, product, Miss::ShapeMismatch, "queries, keys or values are not [batch, heads, tokens, size]", "give them four dimensions");

    found.key = untransposed(keys);
    found.value = root.getRhs();
    Value sharedKey = found.key ? beforeRepetition(found.key) : Value(), sharedValue = beforeRepetition(found.value);
    if (sharedKey && sharedValue && typeOf(sharedKey).getDimSize(1) == typeOf(sharedValue).getDimSize(1))
      found.key = sharedKey, found.value = sharedValue;
    if (!dimensionsAgree(found, keys))
      return missed(rewriter, product, Miss::ShapeUnknown, "batch, heads or tokens of queries, keys and values are not proven to agree",
                    "name equal dimensions alike, or fix them with --dim");
    if (!found.key)
      found.key = transposeKeys(rewriter, keys);
    found.mask = joinMasks(rewriter, added);
    rewriter.replaceOpWithNewOp<llm::AttentionOp>(root, root.getType(), found.query, found.key, found.value, found.mask,
                                                  rewriter.getF32FloatAttr(float(found.scale)), UnitAttr(),
                                                  rewriter.getI64IntegerAttr(0), rewriter.getF32FloatAttr(0));
    return success();
  }

private:
  /// Walks from the softmax's input down to the product; `scores` becomes the scaled product. Masks keep the order in which
  /// they were added.
  static llm::MatMulOp peelMasks(Value &scores, SmallVectorImpl<Value> &added) {
    for (int depth = 0; depth < 4; ++depth) {
      if (!scores.hasOneUse())
        return {};
      double ignored = 1;
      Value bare = withoutScale(scores, ignored);
      if (auto product = bare.getDefiningOp<llm::MatMulOp>())
        return chainHasOneUse(scores, bare) ? product : llm::MatMulOp();
      Value next;
      if (auto add = scores.getDefiningOp<llm::AddOp>()) {
        next = leadsToProduct(add.getLhs()) ? add.getLhs() : add.getRhs();
        added.push_back(next == add.getLhs() ? add.getRhs() : add.getLhs());
      } else if (auto select = scores.getDefiningOp<llm::SelectOp>()) {
        // where(allowed, scores, lowest): the same as adding where(allowed, 0, lowest).
        auto lowest = splatOf(select.getRhs());
        if (!lowest || *lowest > kVanishes)
          return {};
        next = select.getLhs();
        added.push_back(select);
      }
      if (!next || next.getType() != scores.getType())
        return {};
      scores = next;
    }
    return {};
  }

  static bool leadsToProduct(Value value) {
    for (int depth = 0; depth < 4; ++depth) {
      double ignored = 1;
      value = withoutScale(value, ignored);
      if (value.getDefiningOp<llm::MatMulOp>())
        return true;
      if (auto add = value.getDefiningOp<llm::AddOp>())
        value = add.getLhs();
      else if (auto select = value.getDefiningOp<llm::SelectOp>())
        value = select.getLhs();
      else
        return false;
    }
    return false;
  }

  static bool chainHasOneUse(Value from, Value to) {
    for (Value value = from; value != to; value = value.getDefiningOp()->getOperand(splatOf(value.getDefiningOp()->getOperand(0)) ? 1 : 0))
      if (!value.hasOneUse())
        return false;
    return to.hasOneUse();
  }

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

  static bool dimensionsAgree(const Attention &found, Value keys) {
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto dims = [&](Value value) { return shapes.shapeOf(value).dims; };
    auto query = dims(found.query), value = dims(found.value);
    auto key = dims(found.key ? found.key : keys);
    if (!found.key)
      std::swap(key[2], key[3]);
    auto heads = query[1].constant(), shared = key[1].constant();
    return query[0] == key[0] && query[0] == value[0] && key[2] == value[2] && key[1] == value[1] && query[3] == key[3] &&
           query[3].constant() && value[3].constant() && heads && shared && *shared > 0 && *heads % *shared == 0;
  }

  static Value joinMasks(PatternRewriter &rewriter, ArrayRef<Value> added) {
    Value joined;
    for (Value mask : added) {
      if (auto select = mask.getDefiningOp<llm::SelectOp>(); select && typeOf(select.getLhs()).getRank() == 4 && leadsToProduct(select.getLhs()))
        mask = whereMask(rewriter, select);
      if (!joined) {
        joined = mask;
        continue;
      }
      auto a = typeOf(joined), b = typeOf(mask);
      SmallVector<int64_t> dims(std::max(a.getRank(), b.getRank()));
      for (int64_t back = 1; back <= int64_t(dims.size()); ++back) {
        int64_t x = back <= a.getRank() ? a.getDimSize(a.getRank() - back) : 1, y = back <= b.getRank() ? b.getDimSize(b.getRank() - back) : 1;
        dims[dims.size() - back] = x == 1 ? y : y == 1 ? x : ShapedType::isDynamic(x) ? y : x;
      }
      joined = llm::AddOp::create(rewriter, mask.getLoc(), RankedTensorType::get(dims, a.getElementType()), joined, mask);
    }
    return joined;
  }

  static Value whereMask(PatternRewriter &rewriter, llm::SelectOp select) {
    auto scalar = RankedTensorType::get({}, rewriter.getF32Type());
    Value zero = llm::ConstantOp::create(rewriter, select.getLoc(), DenseElementsAttr::get(scalar, 0.0f));
    auto type = RankedTensorType::get(typeOf(select.getCondition()).getShape(), rewriter.getF32Type());
    Value lowest = llm::ConstantOp::create(rewriter, select.getLoc(), DenseElementsAttr::get(scalar, float(*splatOf(select.getRhs()))));
    return llm::SelectOp::create(rewriter, select.getLoc(), type, select.getCondition(), zero, lowest);
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseAttention(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
