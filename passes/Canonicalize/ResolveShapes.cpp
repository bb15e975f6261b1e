//===- ResolveShapes.cpp - shapes of reshapes as numbers ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.shape %x                                     %c = llm.constant dense<[0, 0, 4, 16]>
//   %v = llm.concat %s[0], %s[1], 4, 16            ==>    %y = llm.reshape %x, %c
//   %y = llm.reshape %x, %v
// Exporters compute the same shape in many ways; with the numbers in place, the chains die and equal blocks look equal.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

/// The shape in numbers: 0 copies the input's dimension at its place, one -1 is what is left. Nothing where that cannot say it.
static std::optional<SmallVector<int64_t>> shapeInNumbers(llm::ReshapeOp op, ShapeAnalysis &shapes) {
  auto before = shapes.shapeOf(op.getInput()).dims, after = shapes.shapeOf(op.getResult()).dims;
  SmallVector<int64_t> numbers;
  bool copies = false;
  int rest = 0;
  for (auto [i, dim] : llvm::enumerate(after)) {
    auto number = dim.constant();
    if (number && *number == 0)
      return std::nullopt; // 0 means something else here
    bool same = !number && i < before.size() && dim == before[i];
    copies |= same;
    rest += !number && !same;
    if (!dim.known())
      return std::nullopt;
    numbers.push_back(number ? *number : same ? 0 : -1);
  }
  // -1 beside a dimension that may be 0 when the model runs would divide by it.
  if (rest > 1 || (rest == 1 && copies))
    return std::nullopt;
  return numbers;
}

int64_t llmopt::resolveShapes(func::FuncOp function) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  int64_t resolved = 0;
  function.walk([&](llm::ReshapeOp op) {
    auto known = op.getShape().getDefiningOp<llm::ConstantOp>();
    auto numbers = known ? std::nullopt : shapeInNumbers(op, shapes);
    if (!numbers)
      return;
    OpBuilder builder(op);
    auto type = RankedTensorType::get({int64_t(numbers->size())}, builder.getI64Type());
    auto constant = llm::ConstantOp::create(builder, op.getLoc(), DenseElementsAttr::get(type, ArrayRef<int64_t>(*numbers)));
    op.getShapeMutable().assign(constant);
    op.setAllowzero(false);
    ++resolved;
  });
  return resolved;
}
