//===- ConvToLinear.cpp - convolutions as projections of windows -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.conv %x, %w, %b              %c = llm.transpose %x                [B, C, H, W] -> [B, H, W, C]
//                                  ==>    %r = llm.windows %c                  [B, OH, OW, KH * KW * C]; not for kernels of 1
//                                         %l = llm.linear %r, %w', %b          %w': [M, KH * KW * C], turned when the artifact is written
//                                         %y = llm.transpose %l                [B, M, OH, OW]
// so that convolutions run at the speed of products (im2col); the product's kernel takes in the windows. Groups of several channels are projections side by
// side. Groups of one channel (depthwise) are sums over the kernel, channel by channel:
//
//                                         %y = sum of llm.windows %c [B, OH, OW, KH, KW, C] * %w' [KH, KW, C] over KH, KW, transposed
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ChannelsLast.h"

#include "mlir/IR/PatternMatch.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// Groups side by side are kernels each: not too many, and with products worth their while.
constexpr int64_t kMostGroups = 64, kLeastGroupDepth = 16;

struct Fuse : OpRewritePattern<llm::ConvOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(llm::ConvOp root, PatternRewriter &rewriter) const override {
    auto input = typeOf(root.getInput()), weight = typeOf(root.getWeight());
    if (!weight.hasStaticShape() || weight.getNumElements() == 0 || weight.getRank() < 3 || input.isDynamicDim(1))
      return rewriter.notifyMatchFailure(root, "channels or kernel are not known");
    if (!llm::isWeightExpression(root.getWeight()) || (root.getBias() && !llm::isWeightExpression(root.getBias())))
      return missed(rewriter, root, Miss::OtherOperand, "the kernel is computed by the model", "make it a constant");
    for (Value operand : root.getOperands())
      if (!typeOf(operand).getElementType().isF32())
        return missed(rewriter, root, Miss::TypeMismatch, "the convolution is not computed in f32", "export the model in f32");
    if (llvm::any_of(root.getPads(), [](int64_t pad) { return pad < 0; }))
      return rewriter.notifyMatchFailure(root, "takes away elements");
    Convolution conv(root, rewriter);
    Value rows = conv.depthwise() ? conv.sums() : conv.projections();
    if (!rows)
      return missed(rewriter, root, Miss::OtherOperand, "there are many groups of few channels each", "use one group, or as many as channels");
    rewriter.replaceOp(root, channelsFirst(rewriter, root.getLoc(), rows));
    return success();
  }

private:
  struct Convolution {
    Convolution(llm::ConvOp conv, PatternRewriter &rewriter)
        : conv_(conv), rewriter_(rewriter), loc_(conv.getLoc()), kernel_(typeOf(conv.getWeight()).getShape().drop_front(2)), outputs_(typeOf(conv.getWeight()).getDimSize(0)),
          perGroup_(typeOf(conv.getWeight()).getDimSize(1)), groups_(int64_t(conv.getGroups())) {}

    bool depthwise() const { return perGroup_ == 1 && outputs_ == groups_ && groups_ > 1; }

    Value projections() {
      if (groups_ > 1 && (groups_ > kMostGroups || perGroup_ * positions() < kLeastGroupDepth))
        return {};
      Value input = channelsLast(rewriter_, loc_, conv_.getInput());
      // [M, kernel, C], joined to rows.
      SmallVector<int64_t> order{0}, sizes{outputs_};
      for (int64_t i = 0; i < int64_t(kernel_.size()); ++i)
        order.push_back(i + 2), sizes.push_back(kernel_[size_t(i)]);
      order.push_back(1), sizes.push_back(perGroup_);
      Value weight = llm::TransposeOp::create(rewriter_, loc_, vectorType(sizes), conv_.getWeight(), rewriter_.getDenseI64ArrayAttr(order));
      weight = reshaped(rewriter_, loc_, weight, {outputs_, positions() * perGroup_});
      if (groups_ == 1)
        return projection(input, weight, conv_.getBias());
      SmallVector<Value> parts;
      int64_t channels = outputs_ / groups_;
      for (int64_t g = 0; g < groups_; ++g)
        parts.push_back(projection(cut(input, typeOf(input).getRank() - 1, g * perGroup_, perGroup_), cut(weight, 0, g * channels, channels),
                                   conv_.getBias() ? cut(conv_.getBias(), 0, g * channels, channels) : Value()));
      SmallVector<int64_t> shape(typeOf(parts.front()).getShape());
      shape.back() = outputs_;
      return llm::ConcatOp::create(rewriter_, loc_, vectorType(shape), parts, uint64_t(shape.size() - 1));
    }

    Value sums() {
      Value rows = windows(channelsLast(rewriter_, loc_, conv_.getInput()));
      // [kernel, C]
      SmallVector<int64_t> order, kernel(kernel_), window(typeOf(rows).getShape().drop_back()), axes;
      for (int64_t i = 0; i < int64_t(kernel_.size()); ++i) {
        order.push_back(i + 2);
        axes.push_back(int64_t(window.size()) + i);
      }
      order.append({0, 1});
      kernel.append({outputs_, 1});
      Value weight = llm::TransposeOp::create(rewriter_, loc_, vectorType(kernel), conv_.getWeight(), rewriter_.getDenseI64ArrayAttr(order));
      kernel.pop_back();
      weight = reshaped(rewriter_, loc_, weight, kernel);
      SmallVector<int64_t> apart(window);
      apart.append(kernel);
      // Dimensions in front are those of the rows.
      SmallVector<int64_t> copied(window.size(), 0);
      copied.append(kernel);
      Value positions = llm::ReshapeOp::create(rewriter_, loc_, vectorType(apart), rows, numbers(rewriter_, loc_, copied), false);
      Value products = llm::MulOp::create(rewriter_, loc_, vectorType(apart), positions, weight);
      SmallVector<int64_t> result(window);
      result.push_back(outputs_);
      Value sum = llm::ReduceOp::create(rewriter_, loc_, vectorType(result), llm::ReduceKind::sum, products, axes, false);
      return conv_.getBias() ? Value(llm::AddOp::create(rewriter_, loc_, vectorType(result), sum, conv_.getBias())) : sum;
    }

  private:
    llm::ConvOp conv_;
    PatternRewriter &rewriter_;
    Location loc_;
    SmallVector<int64_t> kernel_;
    int64_t outputs_, perGroup_, groups_;

    int64_t positions() const { return std::accumulate(kernel_.begin(), kernel_.end(), int64_t(1), std::multiplies<>()); }
    RankedTensorType vectorType(ArrayRef<int64_t> shape) const { return RankedTensorType::get(shape, rewriter_.getF32Type()); }

    Value cut(Value value, int64_t axis, int64_t begin, int64_t size) {
      SmallVector<int64_t> shape(typeOf(value).getShape());
      shape[size_t(axis)] = size;
      return llm::SliceOp::create(rewriter_, loc_, vectorType(shape), value, numbers(rewriter_, loc_, {begin}), numbers(rewriter_, loc_, {begin + size}),
                                  rewriter_.getDenseI64ArrayAttr({axis}), rewriter_.getDenseI64ArrayAttr({1}));
    }

    Value windows(Value input) {
      auto type = typeOf(conv_.getResult());
      SmallVector<int64_t> shape{type.getDimSize(0)};
      llvm::append_range(shape, type.getShape().drop_front(2));
      shape.push_back(positions() * typeOf(input).getShape().back());
      return llm::WindowsOp::create(rewriter_, loc_, vectorType(shape), input, kernel_, conv_.getStrides(), conv_.getPads(), conv_.getDilations());
    }

    Value projection(Value input, Value weight, Value bias) {
      auto all = [](ArrayRef<int64_t> values, int64_t value) { return llvm::all_of(values, [=](int64_t v) { return v == value; }); };
      bool asItIs = positions() == 1 && all(conv_.getStrides(), 1) && all(conv_.getPads(), 0);
      Value rows = asItIs ? input : windows(input);
      SmallVector<int64_t> shape(typeOf(rows).getShape());
      shape.back() = typeOf(weight).getDimSize(0);
      return llm::LinearOp::create(rewriter_, loc_, vectorType(shape), rows, weight, bias, /*transposed=*/false);
    }
  };
};

} // namespace

namespace llmopt::fusion {
void addConvToLinear(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
