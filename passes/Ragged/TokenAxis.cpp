//===- TokenAxis.cpp - proof that tokens are kept apart ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenAxis.h"

#include "llmopt/lib/Analysis/SizeOperands.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

namespace {

bool mentions(const SymExpr::Node *node, llvm::StringRef symbol) {
  return node->name == symbol || llvm::any_of(node->operands, [&](const SymExpr::Node *operand) { return mentions(operand, symbol); });
}

class TokenMixing {
public:
  explicit TokenMixing(ShapeAnalysis &shapes) : shapes_(shapes) {}

  /// Why the operation mixes tokens, or an empty string.
  std::string check(Operation *op) {
    if (isa<llm::ShapeOp>(op))
      return ""; // what is done with it counts
    bool any = false;
    SmallVector<int64_t> axes;
    for (Value operand : op->getOperands()) {
      auto axis = tokenAxis(operand, shapes_);
      if (!axis)
        return "tokens are part of a larger dimension";
      axes.push_back(*axis);
      any |= *axis >= 0;
    }
    int64_t after = -1;
    for (Value result : op->getResults()) {
      auto axis = tokenAxis(result, shapes_);
      if (!axis)
        return "the result joins tokens with another dimension";
      after = *axis;
    }
    if (!any)
      return after >= 0 && !isa<llm::BroadcastOp>(op) ? "counts the tokens of one sequence" : "";
    for (OpOperand &use : op->getOpOperands())
      if (!isSizeOperand(use) && comesFromSizes(use.get()))
        return "computes with the number of tokens or with the length of the cache";
    if (op->getNumResults() > 1 || (op->getNumResults() == 1 && after < 0))
      return "joins the tokens of a sequence";
    return keepsApart(op, axes, after) ? "" : "may mix tokens";
  }

  bool keepsApart(Operation *op) {
    SmallVector<int64_t> axes;
    for (Value operand : op->getOperands())
      axes.push_back(tokenAxis(operand, shapes_).value_or(-1));
    std::optional<int64_t> after = tokenAxis(op->getResult(0), shapes_);
    return after && *after >= 0 && keepsApart(op, axes, *after);
  }

private:
  static int64_t rankOf(Value value) { return cast<RankedTensorType>(value.getType()).getRank(); }

  /// Operand dimensions and result dimensions are counted from the right, as broadcasting does.
  static bool aligned(Operation *op, ArrayRef<int64_t> axes, int64_t after) {
    int64_t back = rankOf(op->getResult(0)) - after;
    for (auto [operand, axis] : llvm::zip(op->getOperands(), axes))
      if (axis >= 0 && rankOf(operand) - axis != back)
        return false;
    return true;
  }

  /// What is left and right of the tokens stays there.
  bool sameBefore(Value input, int64_t axis, Value result, int64_t after) {
    auto count = [&](Value value, int64_t end) {
      SymExpr product = shapes_.symbols().constant(1);
      for (SymExpr dim : ArrayRef(shapes_.shapeOf(value).dims).take_front(size_t(end)))
        product = shapes_.symbols().mul(product, dim);
      return product;
    };
    return count(input, axis) == count(result, after);
  }

  /// Sizes as numbers to compute with. (What reshapes and slices are told does not count: that is settled by the shapes.)
  bool comesFromSizes(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return false;
    if (auto known = fromSizes_.find(value); known != fromSizes_.end())
      return known->second;
    bool answer = isa<llm::ShapeOp>(op) ||
                  llvm::any_of(op->getOpOperands(), [&](OpOperand &use) { return !isSizeOperand(use) && comesFromSizes(use.get()); });
    return fromSizes_[value] = answer;
  }

  bool keepsApart(Operation *op, ArrayRef<int64_t> axes, int64_t after) {
    if (op->hasTrait<llm::Elementwise>())
      return aligned(op, axes, after);
    int64_t last = rankOf(op->getOperand(0)) - 1;
    auto firstOnly = [&] { return axes[0] >= 0 && llvm::all_of(axes.drop_front(), [](int64_t axis) { return axis < 0; }); };
    if (llm::isView(op))
      return firstOnly() && sameBefore(op->getOperand(0), axes[0], op->getResult(0), after);
    return llvm::TypeSwitch<Operation *, bool>(op)
        .Case<llm::TransposeOp>([&](auto transpose) { return transpose.getPermutation()[size_t(after)] == axes[0]; })
        .Case<llm::BroadcastOp>([&](auto) { return firstOnly() && aligned(op, axes, after); })
        .Case<llm::LinearOp, llm::LayerNormOp, llm::RMSNormOp>([&](auto) { return firstOnly() && axes[0] != last; })
        .Case<llm::SoftmaxOp>([&](auto softmax) { return int64_t(softmax.getAxis()) != axes[0]; })
        .Case<llm::ReduceOp>([&](auto reduce) { return !llvm::is_contained(reduce.getAxes(), axes[0]); })
        .Case<llm::EmbeddingOp>([&](auto) { return axes[1] < 0; })
        .Case<llm::GatherOp>([&](auto gather) {
          return axes[0] < 0 || (axes[1] < 0 && int64_t(gather.getAxis()) != axes[0]); // by tokens from a table, or within a token
        })
        .Case<llm::ConcatOp>([&](auto concat) {
          return int64_t(concat.getAxis()) != after && llvm::all_of(axes, [&](int64_t axis) { return axis == after; });
        })
        .Case<llm::SliceOp>([&](auto slice) { return firstOnly() && !llvm::is_contained(slice.getAxes(), axes[0]); })
        .Case<llm::MatMulOp>([&](auto matmul) {
          return axes[1] < 0 && axes[0] >= 0 && axes[0] != last && rankOf(matmul.getLhs()) >= rankOf(matmul.getRhs());
        })
        .Case<llm::RopeOp>([&](auto) { return axes[0] == 0 && axes[1] <= 0; })
        .Case<llm::PagedAttentionOp, llm::CacheAppendOp>([&](auto) { return llvm::all_of(axes, [](int64_t axis) { return axis <= 0; }); })
        .Default([](Operation *) { return false; });
  }

  ShapeAnalysis &shapes_;
  llvm::DenseMap<Value, bool> fromSizes_;
};

} // namespace

std::optional<int64_t> ragged::tokenAxis(Value value, ShapeAnalysis &shapes) {
  int64_t found = -1;
  SymExpr tokens = shapes.symbols().symbol("tokens");
  for (auto [i, dim] : llvm::enumerate(shapes.shapeOf(value).dims)) {
    if (!dim.known())
      return std::nullopt;
    if (!mentions(dim.node(), "tokens"))
      continue;
    if (found >= 0 || !(dim == tokens))
      return std::nullopt;
    found = int64_t(i);
  }
  return found;
}

bool ragged::keepsTokensApart(Operation *op, ShapeAnalysis &shapes) { return TokenMixing(shapes).keepsApart(op); }

std::optional<Obstacle> ragged::findTokenMixing(func::FuncOp function, ShapeAnalysis &shapes) {
  TokenMixing mixing(shapes);
  for (Operation &op : function.getBody().front().without_terminator())
    if (std::string reason = mixing.check(&op); !reason.empty())
      return Obstacle{&op, reason};
  return std::nullopt;
}
