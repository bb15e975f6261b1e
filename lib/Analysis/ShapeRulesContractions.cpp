//===- ShapeRulesContractions.cpp - reductions, products, attention -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ShapeRules.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::llm;
using namespace llmopt::shapes;

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

static SymExpr reduceElements(Rules &rules, ReduceKind kind, ArrayRef<SymExpr> elements) {
  SymContext &symbols = rules.symbols;
  if (elements.empty())
    return kind == ReduceKind::sum ? rules.c(0) : kind == ReduceKind::prod ? rules.c(1) : SymExpr();
  SymExpr result = elements.front();
  for (SymExpr element : elements.drop_front()) {
    switch (kind) {
    case ReduceKind::sum:
    case ReduceKind::mean:
      result = symbols.add(result, element);
      break;
    case ReduceKind::prod:
      result = symbols.mul(result, element);
      break;
    case ReduceKind::max:
      result = symbols.max(result, element);
      break;
    case ReduceKind::min:
      result = symbols.min(result, element);
      break;
    }
  }
  if (kind != ReduceKind::mean)
    return result;
  int64_t count = int64_t(elements.size());
  return symbols.provenMultipleOf(result, count) ? symbols.floorDiv(result, rules.c(count)) : SymExpr();
}

static Dims reducedDims(Rules &rules, ArrayRef<SymExpr> input, ArrayRef<int64_t> axes, bool keepdims) {
  Dims dims;
  for (auto [i, dim] : llvm::enumerate(input)) {
    bool reduced = llvm::is_contained(axes, int64_t(i));
    if (!reduced || keepdims)
      dims.push_back(reduced ? rules.c(1) : dim);
  }
  return dims;
}

static Inferred reduceShape(Rules &rules, ReduceOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims = reducedDims(rules, input.dims, op.getAxes(), op.getKeepdims());
  auto inputBox = trackedDims(input.dims);
  if (!input.elements || !inputBox || !trackedDims(dims))
    return one(std::move(dims));
  // Buckets in the order of the result, whose dimensions of size 1 do not matter here.
  auto keptBox = *trackedDims(reducedDims(rules, input.dims, op.getAxes(), /*keepdims=*/true));
  SmallVector<Elements> buckets(size_t(ShapedType::getNumElements(keptBox)));
  forEachIndex(*inputBox, [&](ArrayRef<int64_t> index) {
    buckets[size_t(broadcastOffset(index, keptBox))].push_back((*input.elements)[size_t(broadcastOffset(index, *inputBox))]);
  });
  Elements elements;
  Type type = cast<RankedTensorType>(op.getInput().getType()).getElementType();
  for (const Elements &bucket : buckets)
    elements.push_back(fitted(reduceElements(rules, op.getKind(), bucket), type));
  return one(std::move(dims), std::move(elements));
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static Inferred matmulShape(Rules &rules, MatMulOp op) {
  ArrayRef<SymExpr> lhs(rules.of(op.getLhs()).dims), rhs(rules.of(op.getRhs()).dims);
  if (lhs.empty() || rhs.empty())
    return std::nullopt;
  Dims dims = broadcastDims(rules.symbols, lhs.drop_back(std::min<size_t>(2, lhs.size())),
                            rhs.drop_back(std::min<size_t>(2, rhs.size())));
  if (lhs.size() > 1)
    dims.push_back(lhs[lhs.size() - 2]);
  if (rhs.size() > 1)
    dims.push_back(rhs.back());
  return one(std::move(dims));
}

static Inferred linearShape(Rules &rules, LinearOp op) {
  Dims dims = rules.of(op.getInput()).dims;
  const Dims &weight = rules.of(op.getWeight()).dims;
  if (dims.empty() || weight.size() != 2)
    return std::nullopt;
  dims.back() = weight[op.getTransposed() ? 1 : 0];
  return one(std::move(dims));
}

static Inferred groupedLinearShape(Rules &rules, GroupedLinearOp op) {
  Dims dims = rules.of(op.getOrder()).dims;
  const Dims &weight = rules.of(op.getWeight()).dims;
  if (dims.size() != 2 || weight.size() != 3)
    return std::nullopt;
  dims.push_back(weight[1]);
  return one(std::move(dims));
}

/// How often a window fits along spatial dimension `i`: floor((n + pads - dilation * (k - 1) - 1) / stride) + 1.
template <typename Op>
static SymExpr windowsAlong(Rules &rules, Op op, size_t i, SymExpr size, SymExpr kernel) {
  SymContext &symbols = rules.symbols;
  SymExpr reach = symbols.mul(rules.c(op.getDilations()[i]), symbols.sub(kernel, rules.c(1)));
  SymExpr padded = symbols.add(size, rules.c(op.getPads()[i] + op.getPads()[op.getStrides().size() + i] - 1));
  SymExpr count = symbols.add(symbols.floorDiv(symbols.sub(padded, reach), rules.c(op.getStrides()[i])), rules.c(1));
  rules.analysis.assumeSize(count, op.getLoc());
  return count;
}

static Inferred convShape(Rules &rules, ConvOp op) {
  const Dims &input = rules.of(op.getInput()).dims, &weight = rules.of(op.getWeight()).dims;
  size_t spatial = op.getStrides().size();
  if (input.size() != spatial + 2 || weight.size() != spatial + 2 || op.getPads().size() != 2 * spatial ||
      op.getDilations().size() != spatial)
    return std::nullopt;
  Dims dims{input[0], weight[0]};
  for (size_t i = 0; i < spatial; ++i)
    dims.push_back(windowsAlong(rules, op, i, input[i + 2], weight[i + 2]));
  return one(std::move(dims));
}

static Inferred windowsShape(Rules &rules, WindowsOp op) {
  const Dims &input = rules.of(op.getInput()).dims;
  size_t spatial = op.getKernel().size();
  if (input.size() != spatial + 2 || op.getStrides().size() != spatial || op.getPads().size() != 2 * spatial || op.getDilations().size() != spatial)
    return std::nullopt;
  Dims dims{input[0]};
  SymExpr row = input.back();
  for (size_t i = 0; i < spatial; ++i) {
    dims.push_back(windowsAlong(rules, op, i, input[i + 1], rules.c(op.getKernel()[i])));
    row = rules.symbols.mul(row, rules.c(op.getKernel()[i]));
  }
  dims.push_back(row);
  return one(std::move(dims));
}

static Inferred embeddingShape(Rules &rules, EmbeddingOp op) {
  Dims dims = rules.of(op.getIds()).dims;
  const Dims &table = rules.of(op.getTable()).dims;
  if (table.size() != 2)
    return std::nullopt;
  dims.push_back(table[1]);
  return one(std::move(dims));
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

static Inferred attentionShape(Rules &rules, AttentionOp op) {
  Dims dims = rules.of(op.getQuery()).dims;
  const Dims &value = rules.of(op.getValue()).dims;
  if (dims.size() != 4 || value.size() != 4)
    return std::nullopt;
  dims[3] = value[3];
  return one(std::move(dims));
}

/// The width of one value row of a state is written where the state is: in a cache_append, often of another function.
static SymExpr stateValueSize(Rules &rules, PagedAttentionOp op) {
  Value query = op.getQuery();
  Operation *top = query.getParentBlock() ? query.getParentBlock()->getParentOp() : nullptr;
  while (top && top->getParentOp())
    top = top->getParentOp();
  SymExpr size;
  if (top)
    top->walk([&](CacheAppendOp append) {
      auto type = cast<RankedTensorType>(append.getValue().getType());
      if (append.getState() != op.getState() || append.getGroup() != op.getGroup() || type.getRank() != 3 || type.isDynamicDim(2))
        return WalkResult::advance();
      size = rules.c(type.getDimSize(2));
      return WalkResult::interrupt();
    });
  return size;
}

static Inferred pagedAttentionShape(Rules &rules, PagedAttentionOp op) {
  Dims dims = rules.of(op.getQuery()).dims;
  if (dims.size() != 3)
    return std::nullopt;
  // A declared width wins anyway, so the walk is for operations that have none yet.
  bool declared = rules.typed && !cast<RankedTensorType>(op.getType()).isDynamicDim(2);
  dims[2] = declared ? SymExpr() : stateValueSize(rules, op);
  return one(std::move(dims));
}

bool Rules::inferContractions(Operation *op, Inferred &result) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](ReduceOp reduce) { result = reduceShape(*this, reduce); return true; })
      .Case([&](ArgReduceOp reduce) {
        result = one(reducedDims(*this, of(reduce.getInput()).dims, reduce.getAxis(), reduce.getKeepdims()));
        return true;
      })
      .Case([&](MatMulOp matmul) { result = matmulShape(*this, matmul); return true; })
      .Case([&](LinearOp linear) { result = linearShape(*this, linear); return true; })
      .Case([&](GroupedLinearOp linear) { result = groupedLinearShape(*this, linear); return true; })
      .Case([&](GroupRowsOp group) {
        result = Shapes{ValueShape{of(group.getChosen()).dims, std::nullopt}, ValueShape{Dims{c(int64_t(group.getExperts()) + 1)}, std::nullopt}};
        return true;
      })
      .Case([&](ConvOp conv) { result = convShape(*this, conv); return true; })
      .Case([&](WindowsOp windows) { result = windowsShape(*this, windows); return true; })
      .Case([&](EmbeddingOp embedding) { result = embeddingShape(*this, embedding); return true; })
      .Case<LayerNormOp, RMSNormOp, SoftmaxOp, RopeOp>([&](auto op) {
        result = one(of(op.getInput()).dims);
        return true;
      })
      .Case([&](AttentionOp attention) { result = attentionShape(*this, attention); return true; })
      .Case([&](PagedAttentionOp attention) { result = pagedAttentionShape(*this, attention); return true; })
      .Default([](Operation *) { return false; });
}
