//===- FuseIntegerProduct.cpp - products of codes and their zero points -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.matmul (cast %a - %za), (cast %w - %zw)   in i32        (ONNX MatMulInteger, QLinearMatMul, ...; %w a weight)
//   ==>
//   %s = llm.matmul %a, %w : ui8, i8 -> i32
//   %y = %s - %za * sum(%w - %zw) - %zw * sum(%a)
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ByteProduct.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

struct Fuse : OpRewritePattern<llm::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MatMulOp root, PatternRewriter &rewriter) const override {
    if (!typeOf(root.getLhs()).getElementType().isInteger(32) || !typeOf(root.getRhs()).getElementType().isInteger(32))
      return rewriter.notifyMatchFailure(root, "not a product in i32");
    if (typeOf(root.getLhs()).getRank() < 2)
      return rewriter.notifyMatchFailure(root, "the left operand is no matrix");
    std::optional<Codes> input = matchCodes(root.getLhs()), weight = matchCodes(root.getRhs());
    if (!input || !weight)
      return rewriter.notifyMatchFailure(root, "operands are not bytes less a zero point");
    if (std::optional<Obstacle> obstacle = obstacleTo(*input, *weight))
      return missed(rewriter, obstacle->value, obstacle->kind, obstacle->reason, obstacle->change);
    rewriter.replaceOp(root, emitByteProduct(rewriter, root.getLoc(), typeOf(root), *input, *weight));
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseIntegerProduct(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
