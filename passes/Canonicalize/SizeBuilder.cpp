//===- SizeBuilder.cpp - sizes in one spelling ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "SizeBuilder.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

using Node = SymExpr::Node;

static Value constant(OpBuilder &builder, Location loc, ArrayRef<int64_t> numbers) {
  auto type = RankedTensorType::get({int64_t(numbers.size())}, builder.getI64Type());
  return llm::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, numbers));
}

SizeBuilder::SizeBuilder(func::FuncOp function, ShapeAnalysis &shapes) {
  for (BlockArgument argument : function.getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      for (auto [place, dim] : llvm::enumerate(shapes.shapeOf(argument).dims))
        if (dim.known())
          places_.try_emplace(dim.node(), argument, int64_t(place));
}

bool SizeBuilder::canBuild(const Node *node) const {
  if (places_.contains(node) || node->op == Node::Op::Constant)
    return true;
  bool arithmetic = node->op == Node::Op::Sum || node->op == Node::Op::Product;
  return arithmetic && llvm::all_of(node->operands, [&](const Node *operand) { return canBuild(operand); });
}

/// A vector of one element.
Value SizeBuilder::build(OpBuilder &builder, Location loc, const Node *node) const {
  auto one = RankedTensorType::get({1}, builder.getI64Type());
  if (node->op == Node::Op::Constant)
    return constant(builder, loc, node->value);
  if (auto it = places_.find(node); it != places_.end()) {
    auto [argument, place] = it->second;
    auto type = RankedTensorType::get({cast<RankedTensorType>(argument.getType()).getRank()}, builder.getI64Type());
    Value shape = llm::ShapeOp::create(builder, loc, type, argument);
    return llm::GatherOp::create(builder, loc, one, shape, constant(builder, loc, place), /*axis=*/0);
  }
  bool isSum = node->op == Node::Op::Sum;
  Value result;
  for (auto [i, operand] : llvm::enumerate(node->operands)) {
    Value term = build(builder, loc, operand);
    if (isSum && node->factors[i] != 1)
      term = llm::MulOp::create(builder, loc, one, term, constant(builder, loc, node->factors[i]));
    if (!result)
      result = term;
    else if (isSum)
      result = llm::AddOp::create(builder, loc, one, result, term);
    else
      result = llm::MulOp::create(builder, loc, one, result, term);
  }
  if (isSum && node->value != 0)
    result = llm::AddOp::create(builder, loc, one, result, constant(builder, loc, node->value));
  return result;
}

Value SizeBuilder::vector(OpBuilder &builder, Location loc, ArrayRef<SymExpr> sizes) const {
  SmallVector<int64_t> numbers;
  for (SymExpr size : sizes) {
    if (!size.known() || !canBuild(size.node()))
      return {};
    if (auto number = size.constant())
      numbers.push_back(*number);
  }
  if (numbers.size() == sizes.size())
    return constant(builder, loc, numbers);
  SmallVector<Value> parts;
  for (SymExpr size : sizes)
    parts.push_back(build(builder, loc, size.node()));
  auto type = RankedTensorType::get({int64_t(parts.size())}, builder.getI64Type());
  return parts.size() == 1 ? parts.front() : llm::ConcatOp::create(builder, loc, type, parts, /*axis=*/0).getResult();
}

SizeBuilder::Shape SizeBuilder::reshapeTo(OpBuilder &builder, Location loc, ArrayRef<SymExpr> before, ArrayRef<SymExpr> dims) const {
  SmallVector<int64_t> numbers;
  bool copies = false, sayable = true;
  int rest = 0;
  for (auto [i, dim] : llvm::enumerate(dims)) {
    auto number = dim.constant();
    bool same = !number && i < before.size() && dim == before[i];
    sayable &= dim.known() && number != 0; // 0 means something else here
    copies |= same;
    rest += !number && !same;
    numbers.push_back(number ? *number : same ? 0 : -1);
  }
  // -1 beside a dimension that may be 0 when the model runs would divide by it.
  if (sayable && (rest == 0 || (rest == 1 && !copies)))
    return {constant(builder, loc, numbers), false};
  return {vector(builder, loc, dims), true};
}
