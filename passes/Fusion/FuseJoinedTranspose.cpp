//===- FuseJoinedTranspose.cpp - batched matrices transposed one by one ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %a = llm.reshape %x       [B, H, T, D] -> [B * H, T, D]
//   %b = llm.transpose %a     [0, 2, 1]                          ==>   %c = llm.transpose %x [0, 1, 3, 2]
//   %c = llm.reshape %b       [B * H, D, T] -> [B, H, D, T]
// which is how torch.export writes the transposition of keys.
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
    auto transpose = root.getInput().getDefiningOp<llm::TransposeOp>();
    auto join = transpose ? transpose.getInput().getDefiningOp<llm::ReshapeOp>() : llm::ReshapeOp();
    if (!join || transpose.getPermutation() != ArrayRef<int64_t>{0, 2, 1})
      return rewriter.notifyMatchFailure(root, "not a reshape of transposed matrices that were joined");
    Value x = join.getInput();
    int64_t rank = typeOf(x).getRank();
    if (rank < 3 || typeOf(root).getRank() != rank)
      return rewriter.notifyMatchFailure(root, "the rank changes");
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto before = shapes.shapeOf(x).dims, joined = shapes.shapeOf(join).dims, after = shapes.shapeOf(root).dims;
    SmallVector<int64_t> permutation;
    for (int64_t i = 0; i < rank; ++i) {
      permutation.push_back(i < rank - 2 ? i : i == rank - 2 ? rank - 1 : rank - 2);
      if (!(after[i] == before[permutation.back()]))
        return rewriter.notifyMatchFailure(root, "the dimensions are not proven to be those of a transposition");
    }
    if (!(joined[1] == before[rank - 2]) || !(joined[2] == before[rank - 1]))
      return rewriter.notifyMatchFailure(root, "the matrices themselves are reshaped");
    rewriter.replaceOpWithNewOp<llm::TransposeOp>(root, root.getType(), x, rewriter.getDenseI64ArrayAttr(permutation));
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseJoinedTranspose(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
