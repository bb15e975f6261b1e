//===- KeepChannelsLast.cpp - convolutions after each other stay in one layout -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %t = llm.transpose %x       [B, H, W, C] -> [B, C, H, W], behind a convolution        %r = llm.relu %x
//   %r = llm.relu %t                                                               ==>    %t = llm.transpose %r
// The transposition moves down past what works element by element or along other dimensions, until it meets the one in front of the next convolution
// (or of a projection), and both go. Also, where tokens become an image for a convolution:
//
//   %t = llm.transpose %x       [B, H * W, C] -> [B, C, H * W]
//   %i = llm.reshape %t         -> [B, C, H, W]                                    ==>    %y = llm.reshape %x      -> [B, H, W, C]
//   %y = llm.transpose %i       -> [B, H, W, C]
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ChannelsLast.h"

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// The marked transposition that gives `value`.
llm::TransposeOp channelsMovedFirst(Value value) {
  auto transpose = value.getDefiningOp<llm::TransposeOp>();
  bool moved = transpose && transpose->hasAttr(kChannelsFirst) && transpose.getPermutation() == ArrayRef<int64_t>(channelsFirstOrder(typeOf(value).getRank()));
  return moved ? transpose : llm::TransposeOp();
}

RankedTensorType lastTypeOf(Value result) {
  auto type = typeOf(result);
  SmallVector<int64_t> shape;
  for (int64_t axis : channelsLastOrder(type.getRank()))
    shape.push_back(type.getDimSize(unsigned(axis)));
  return type.clone(shape);
}

/// Where axis `axis` of a tensor of this rank is with channels last.
int64_t axisLast(int64_t axis, int64_t rank) { return channelsFirstOrder(rank)[size_t(axis)]; }

std::optional<SmallVector<int64_t>> integersOf(Value value) {
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
  if (!elements)
    return std::nullopt;
  return llvm::map_to_vector(elements.getValues<APInt>(), [](const APInt &number) { return number.getSExtValue(); });
}

struct PastElementwise : OpTraitRewritePattern<llm::Elementwise> {
  using OpTraitRewritePattern::OpTraitRewritePattern;
  LogicalResult matchAndRewrite(Operation *root, PatternRewriter &rewriter) const override {
    if (root->getNumResults() != 1 || llvm::none_of(root->getOperands(), channelsMovedFirst))
      return rewriter.notifyMatchFailure(root, "no operand's channels were moved");
    int64_t rank = typeOf(root->getResult(0)).getRank();
    for (Value operand : root->getOperands())
      if (!canFollow(operand, rank))
        return rewriter.notifyMatchFailure(root, "another operand has its channels first for other reasons");
    SmallVector<Value> operands;
    for (Value operand : root->getOperands())
      operands.push_back(followed(operand, rank, root->getLoc(), rewriter));
    Operation *moved = rewriter.create(root->getLoc(), root->getName().getIdentifier(), operands, TypeRange{lastTypeOf(root->getResult(0))}, root->getAttrs());
    rewriter.replaceOp(root, channelsFirst(rewriter, root->getLoc(), moved->getResult(0)));
    return success();
  }

private:
  static bool isOneElement(Value value) { return typeOf(value).hasStaticShape() && typeOf(value).getNumElements() == 1; }
  static bool canFollow(Value operand, int64_t rank) {
    if (channelsMovedFirst(operand))
      return typeOf(operand).getRank() == rank;
    return isOneElement(operand) || (llm::isWeightExpression(operand) && typeOf(operand).hasStaticShape());
  }
  static Value followed(Value operand, int64_t rank, Location loc, PatternRewriter &rewriter) {
    if (auto transpose = channelsMovedFirst(operand))
      return transpose.getInput();
    if (isOneElement(operand))
      return operand;
    SmallVector<int64_t> shape(typeOf(operand).getShape());
    shape.insert(shape.begin(), size_t(rank) - shape.size(), 1);
    Value turned = channelsLast(rewriter, loc, reshaped(rewriter, loc, operand, shape));
    ArrayRef<int64_t> sizes = typeOf(turned).getShape();
    while (sizes.size() > 1 && sizes.front() == 1)
      sizes = sizes.drop_front();
    return reshaped(rewriter, loc, turned, sizes);
  }
};

/// Operations along dimensions that are no channels, and joins of channels.
template <typename Op>
struct Past : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op root, PatternRewriter &rewriter) const override {
    Value input = root->getOperand(0);
    llm::TransposeOp transpose = channelsMovedFirst(input);
    if (!transpose)
      return rewriter.notifyMatchFailure(root, "its input's channels were not moved");
    return past(root, transpose, typeOf(input).getRank(), rewriter);
  }

private:
  static LogicalResult moved(Operation *root, Value result, PatternRewriter &rewriter) {
    rewriter.replaceOp(root, channelsFirst(rewriter, root->getLoc(), result));
    return success();
  }

  static LogicalResult past(llm::SliceOp root, llm::TransposeOp transpose, int64_t rank, PatternRewriter &rewriter) {
    SmallVector<int64_t> axes;
    for (int64_t axis : root.getAxes())
      axes.push_back(axisLast(axis, rank));
    return moved(root, llm::SliceOp::create(rewriter, root.getLoc(), lastTypeOf(root), transpose.getInput(), root.getStarts(), root.getEnds(), axes, root.getSteps()), rewriter);
  }

  static LogicalResult past(llm::GatherOp root, llm::TransposeOp transpose, int64_t rank, PatternRewriter &rewriter) {
    if (typeOf(root.getIndices()).getRank() != 1)
      return rewriter.notifyMatchFailure(root, "changes the number of dimensions");
    int64_t axis = axisLast(int64_t(root.getAxis()), rank);
    return moved(root, llm::GatherOp::create(rewriter, root.getLoc(), lastTypeOf(root), transpose.getInput(), root.getIndices(), uint64_t(axis)), rewriter);
  }

  static LogicalResult past(llm::PadOp root, llm::TransposeOp transpose, int64_t rank, PatternRewriter &rewriter) {
    auto pads = integersOf(root.getPads());
    if (!pads || int64_t(pads->size()) != 2 * rank)
      return rewriter.notifyMatchFailure(root, "how much is added is not known");
    SmallVector<int64_t> turned;
    for (int64_t side : {int64_t(0), rank})
      for (int64_t axis : channelsLastOrder(rank))
        turned.push_back((*pads)[size_t(side + axis)]);
    Value sizes = numbers(rewriter, root.getLoc(), turned);
    return moved(root, llm::PadOp::create(rewriter, root.getLoc(), lastTypeOf(root), root.getMode(), transpose.getInput(), sizes, root.getValue()), rewriter);
  }

  static LogicalResult past(llm::ConcatOp root, llm::TransposeOp, int64_t rank, PatternRewriter &rewriter) {
    SmallVector<Value> inputs;
    for (Value input : root.getInputs()) {
      llm::TransposeOp transpose = channelsMovedFirst(input);
      if (!transpose)
        return rewriter.notifyMatchFailure(root, "another operand has its channels first for other reasons");
      inputs.push_back(transpose.getInput());
    }
    int64_t axis = axisLast(int64_t(root.getAxis()), rank);
    return moved(root, llm::ConcatOp::create(rewriter, root.getLoc(), lastTypeOf(root), inputs, uint64_t(axis)), rewriter);
  }

  static LogicalResult past(llm::ReduceOp root, llm::TransposeOp transpose, int64_t rank, PatternRewriter &rewriter) {
    SmallVector<int64_t> axes;
    for (int64_t axis : root.getAxes())
      axes.push_back(axisLast(axis, rank));
    llvm::sort(axes);
    if (root.getKeepdims())
      return moved(root, llm::ReduceOp::create(rewriter, root.getLoc(), lastTypeOf(root), root.getKind(), transpose.getInput(), axes, true), rewriter);
    if (int64_t(axes.size()) != rank - 2 || llvm::is_contained(axes, 0) || llvm::is_contained(axes, rank - 1))
      return rewriter.notifyMatchFailure(root, "spatial dimensions are left");
    rewriter.replaceOpWithNewOp<llm::ReduceOp>(root, root.getType(), root.getKind(), transpose.getInput(), axes, false);
    return success();
  }

  /// [B, C, H, W] as [B, C, H * W].
  static LogicalResult past(llm::ReshapeOp root, llm::TransposeOp transpose, int64_t rank, PatternRewriter &rewriter) {
    if (rank != 4 || typeOf(root).getRank() != 3 || typeOf(root).isDynamicDim(1))
      return rewriter.notifyMatchFailure(root, "does not join the dimensions of images");
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto from = shapes.shapeOf(root.getInput()).dims, to = shapes.shapeOf(root).dims;
    if (!(from[0] == to[0]) || !(from[1] == to[1]))
      return rewriter.notifyMatchFailure(root, "does not keep channels");
    Value sizes = numbers(rewriter, root.getLoc(), {0, -1, typeOf(root).getDimSize(1)});
    return moved(root, llm::ReshapeOp::create(rewriter, root.getLoc(), lastTypeOf(root), transpose.getInput(), sizes, /*allowzero=*/false), rewriter);
  }
};

/// Tokens to an image with channels last, written by way of one with channels first.
struct FromTokens : OpRewritePattern<llm::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::TransposeOp root, PatternRewriter &rewriter) const override {
    auto image = root.getInput().getDefiningOp<llm::ReshapeOp>();
    auto turned = image ? image.getInput().getDefiningOp<llm::TransposeOp>() : llm::TransposeOp();
    if (!turned || root.getPermutation() != ArrayRef<int64_t>{0, 2, 3, 1} || turned.getPermutation() != ArrayRef<int64_t>{0, 2, 1})
      return rewriter.notifyMatchFailure(root, "not an image of turned tokens");
    auto type = typeOf(root);
    auto entries = integersOf(image.getShape());
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto from = shapes.shapeOf(turned).dims, to = shapes.shapeOf(image).dims;
    if (type.isDynamicDim(3) || !entries || entries->size() != 4 || !(from[0] == to[0]) || !(from[1] == to[1]) || (*entries)[2] == 0 || (*entries)[3] == 0)
      return rewriter.notifyMatchFailure(root, "tokens are mixed, or sizes not known");
    Value sizes = numbers(rewriter, root.getLoc(), {(*entries)[0], (*entries)[2], (*entries)[3], type.getDimSize(3)});
    rewriter.replaceOpWithNewOp<llm::ReshapeOp>(root, type, turned.getInput(), sizes, image.getAllowzero());
    return success();
  }
};

} // namespace

namespace llmopt::fusion {
void addKeepChannelsLast(RewritePatternSet &patterns) {
  patterns.add<PastElementwise, Past<llm::SliceOp>, Past<llm::GatherOp>, Past<llm::PadOp>, Past<llm::ConcatOp>, Past<llm::ReduceOp>, Past<llm::ReshapeOp>, FromTokens>(patterns.getContext());
}
} // namespace llmopt::fusion
