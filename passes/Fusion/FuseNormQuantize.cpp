//===- FuseNormQuantize.cpp - dynamic quantization behind a norm ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %n = llm.layer_norm %x ..
//   %low = llm.reduce min %n axes = [0, 1, 2]       ==>   %l = llm.reduce min %n axes = [2];  %low = llm.reduce min %l axes = [0, 1]
//   %high = llm.reduce max %n axes = [0, 1, 2]      ==>   %h = llm.reduce max %n axes = [2];  %high = llm.reduce max %h axes = [0, 1]
//   %q = cast(clamp(round(%n / scale(%low, %high)) + zero(%low, %high)))                       (ONNX DynamicQuantizeLinear, and symmetric ones)
//
// The extrema of a row belong to the norm's kernel, which has the row in registers (passes/Kernels/ClustersJoin.cpp); what is left to do before the
// first element can be quantized is one number a row. Extrema do not depend on the order in which they are taken, so no bit changes.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

using Reductions = llvm::SmallSetVector<llm::ReduceOp, 4>;

bool isOneElement(Value value) { return typeOf(value).hasStaticShape() && typeOf(value).getNumElements() == 1; }
bool isByte(Type type) { return type.isInteger(8) || type.isUnsignedInteger(8); }

/// Whether `quotient` (x divided by a scale) is rounded, perhaps moved and clamped by numbers, and made bytes.
bool becomesBytes(Operation *quotient) {
  bool isRounded = false;
  for (Operation *op = quotient; op->hasOneUse();) {
    op = *op->getUsers().begin();
    if (auto cast = dyn_cast<llm::CastOp>(op))
      return isRounded && isByte(typeOf(cast).getElementType());
    if (!isa<llm::RoundOp, llm::AddOp, llm::SubOp, llm::MinOp, llm::MaxOp>(op))
      return false;
    isRounded |= isa<llm::RoundOp>(op);
  }
  return false;
}

/// The reductions that a single number is computed from; what those read is not looked at.
Reductions reductionsBehind(Value number) {
  Reductions found;
  llvm::SmallSetVector<Value, 16> values;
  values.insert(number);
  for (size_t i = 0; i < values.size(); ++i) {
    Operation *op = values[i].getDefiningOp();
    if (auto reduce = dyn_cast_or_null<llm::ReduceOp>(op))
      found.insert(reduce);
    else if (op && op->hasTrait<llm::Elementwise>())
      for (Value operand : op->getOperands())
        values.insert(operand);
  }
  return found;
}

/// The reductions that the scale of a quantization of `x` to bytes comes from.
Reductions reductionsOfQuantization(Value x) {
  for (Operation *user : x.getUsers()) {
    Value scale = isa<llm::DivOp, llm::MulOp>(user) ? user->getOperand(user->getOperand(0) == x) : Value();
    if (scale && scale != x && user->getResult(0).getType() == x.getType() && becomesBytes(user))
      if (Reductions found = reductionsBehind(scale); !found.empty())
        return found;
  }
  return {};
}

/// What a reduction is taken of, seen through signs.
Value underSigns(Value value) {
  while (isa_and_nonnull<llm::AbsOp, llm::NegOp>(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

bool isExtremum(llm::ReduceOp reduce) { return reduce.getKind() == llm::ReduceKind::min || reduce.getKind() == llm::ReduceKind::max; }

/// All rows of the extremum, after those of each row by itself.
Value byRows(llm::ReduceOp reduce, PatternRewriter &rewriter) {
  auto type = typeOf(reduce.getInput());
  int64_t last = type.getRank() - 1;
  SmallVector<int64_t> shape(type.getShape()), rest(reduce.getAxes().drop_back());
  reduce.getKeepdims() ? void(shape.back() = 1) : shape.pop_back();
  auto rows = llm::ReduceOp::create(rewriter, reduce.getLoc(), RankedTensorType::get(shape, type.getElementType()), reduce.getKindAttr(),
                                    reduce.getInput(), rewriter.getDenseI64ArrayAttr({last}), reduce.getKeepdimsAttr());
  return llm::ReduceOp::create(rewriter, reduce.getLoc(), reduce.getType(), reduce.getKindAttr(), rows, rewriter.getDenseI64ArrayAttr(rest),
                               reduce.getKeepdimsAttr());
}

struct Fuse : OpRewritePattern<llm::ReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::ReduceOp root, PatternRewriter &rewriter) const override {
    Value x = underSigns(root.getInput());
    Operation *norm = x.getDefiningOp();
    while (isa_and_nonnull<llm::CastOp>(norm))
      norm = norm->getOperand(0).getDefiningOp();
    if (!isa_and_nonnull<llm::LayerNormOp, llm::RMSNormOp>(norm))
      return rewriter.notifyMatchFailure(root, "not a reduction of a norm");
    Reductions reductions = reductionsOfQuantization(x);
    if (!reductions.contains(root))
      return rewriter.notifyMatchFailure(root, "no quantization of the norm reads it");
    if (x != norm->getResult(0) || !typeOf(x).getElementType().isF32())
      return missed(rewriter, norm, Miss::TypeMismatch, "the norm is computed in another type than it is quantized from", "norm in f32");
    for (llm::ReduceOp reduce : reductions) {
      if (underSigns(reduce.getInput()) != x)
        return missed(rewriter, reduce, Miss::OtherOperand, "the scale depends on another tensor as well", "quantize by what the norm gives alone");
      if (!isExtremum(reduce))
        return missed(rewriter, reduce, Miss::OtherOp, "the scale depends on a sum, which changes with the order", "quantize by smallest and largest element");
      if (!isOneElement(reduce) || int64_t(reduce.getAxes().size()) != typeOf(x).getRank() || typeOf(x).getRank() < 2)
        return missed(rewriter, reduce, Miss::OtherAxis, "it does not go over all rows", "nothing: rows with scales of their own need no number of all");
    }
    for (llm::ReduceOp reduce : reductions)
      if (reduce != root) {
        rewriter.setInsertionPoint(reduce);
        rewriter.replaceOp(reduce, byRows(reduce, rewriter));
      }
    rewriter.setInsertionPoint(root);
    rewriter.replaceOp(root, byRows(root, rewriter));
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseNormQuantize(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
