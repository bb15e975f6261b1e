//===- FuseJoinedTranspose.cpp - batched matrices transposed one by one ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %a = llm.reshape %x       [B, H, T, D] -> [B * H, T, D]
//   %b = llm.transpose %a     [0, 2, 1]                          ==>   %c = llm.transpose %x [0, 1, 3, 2]
//   %c = llm.reshape %b       [B * H, D, T] -> [B, H, D, T]
// which is how torch.export writes the transposition of keys. The leading dimensions of %x may be others than those of %c. A number that %b is multiplied by is multiplied behind it all.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

struct Fuse : OpRewritePattern<llm::ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::ReshapeOp root, PatternRewriter &rewriter) const override {
    Value number, product = root.getInput();
    if (auto scaled = product.getDefiningOp<llm::MulOp>(); scaled && splatOf(scaled.getRhs()) && typeOf(scaled.getRhs()).getRank() <= 3 && scaled.getLhs().getType() == scaled.getType()) {
      number = scaled.getRhs();
      product = scaled.getLhs();
    }
    auto transpose = product.getDefiningOp<llm::TransposeOp>();
    auto join = transpose ? transpose.getInput().getDefiningOp<llm::ReshapeOp>() : llm::ReshapeOp();
    if (!join || transpose.getPermutation() != ArrayRef<int64_t>{0, 2, 1})
      return rewriter.notifyMatchFailure(root, "not a reshape of transposed matrices that were joined");
    Value x = join.getInput();
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto before = shapes.shapeOf(x).dims, joined = shapes.shapeOf(join).dims, after = shapes.shapeOf(root).dims;
    size_t rank = after.size(), last = before.size() - 1;
    if (rank < 3 || before.size() < 3)
      return rewriter.notifyMatchFailure(root, "not stacks of matrices");
    if (!(joined[1] == before[last - 1]) || !(joined[2] == before[last]) || !(after[rank - 1] == before[last - 1]) || !(after[rank - 2] == before[last]))
      return rewriter.notifyMatchFailure(root, "the matrices themselves are reshaped");
    for (Value inner : {product, Value(root.getInput())})
      if (!inner.hasOneUse())
        return missed(rewriter, inner, Miss::MultiUse, "what was turned or scaled is read elsewhere as well", "use it once");
    Location loc = root.getLoc();
    auto type = typeOf(root);
    if (!llvm::equal(ArrayRef(before).drop_back(2), ArrayRef(after).drop_back(2), [](SymExpr a, SymExpr b) { return a == b; })) {
      if (!leadingDimsStandAlone(root, rank - 2))
        return rewriter.notifyMatchFailure(root, "the leading dimensions are copied from the joined matrices");
      SmallVector<int64_t> sizes(type.getShape());
      std::swap(sizes[rank - 1], sizes[rank - 2]);
      x = llm::ReshapeOp::create(rewriter, loc, RankedTensorType::get(sizes, type.getElementType()), x, untransposedShape(rewriter, root, x),
                                 root.getAllowzero());
    }
    SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, int64_t(rank)));
    std::swap(permutation[rank - 1], permutation[rank - 2]);
    Value turned = llm::TransposeOp::create(rewriter, loc, type, x, rewriter.getDenseI64ArrayAttr(permutation));
    if (number)
      turned = llm::MulOp::create(rewriter, loc, type, turned, number);
    rewriter.replaceOp(root, turned);
    return success();
  }

private:
  /// No 0 among the leading entries of the root's shape, which would copy a dimension of the joined matrices.
  static bool leadingDimsStandAlone(llm::ReshapeOp root, size_t leading) {
    auto constant = root.getShape().getDefiningOp<llm::ConstantOp>();
    if (root.getAllowzero() || !constant)
      return root.getAllowzero();
    auto numbers = llvm::to_vector(cast<DenseIntElementsAttr>(constant.getValue()).getValues<APInt>());
    return llvm::none_of(ArrayRef(numbers).take_front(leading), [](const APInt &number) { return number.isZero(); });
  }

  /// The root's leading entries and the matrices' sizes as `x` has them.
  static Value untransposedShape(PatternRewriter &rewriter, llm::ReshapeOp root, Value x) {
    Location loc = root.getLoc();
    auto part = [&](Value vector, int64_t begin, int64_t end) -> Value {
      auto index = [&](int64_t value) -> Value {
        return llm::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(RankedTensorType::get({1}, rewriter.getI64Type()), value));
      };
      auto type = RankedTensorType::get({end - begin}, rewriter.getI64Type());
      return llm::SliceOp::create(rewriter, loc, type, vector, index(begin), index(end), rewriter.getDenseI64ArrayAttr({0}), rewriter.getDenseI64ArrayAttr({1}));
    };
    int64_t rank = typeOf(root).getRank(), inner = typeOf(x).getRank();
    auto vector = [&](int64_t size) { return RankedTensorType::get({size}, rewriter.getI64Type()); };
    Value sizes = llm::ShapeOp::create(rewriter, loc, vector(inner), x);
    return llm::ConcatOp::create(rewriter, loc, vector(rank), ValueRange{part(root.getShape(), 0, rank - 2), part(sizes, inner - 2, inner)}, 0);
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseJoinedTranspose(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
