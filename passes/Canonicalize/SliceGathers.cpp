//===- SliceGathers.cpp - one row by its number is a slice ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.gather %x, 1 {axis = 0}   ==>   %s = llm.slice %x [1 : 2], %y = llm.squeeze %s
//
// A slice moves nothing when its reader takes strides, and it is what Split and other exporters write.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt;

/// The number that a gather takes, if it takes one.
static std::optional<int64_t> onlyIndex(llm::GatherOp op) {
  auto constant = op.getIndices().getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
  if (!elements || elements.getType().getRank() > 1 || elements.getNumElements() != 1)
    return std::nullopt;
  return (*elements.begin()).getSExtValue();
}

/// Rows of a dimension of known size; a number outside of it is the gather's to clamp.
static bool isSlice(llm::GatherOp op, int64_t index) {
  auto type = cast<RankedTensorType>(op.getInput().getType());
  int64_t size = type.getDimSize(op.getAxis());
  return type.getRank() >= 2 && !ShapedType::isDynamic(size) && index >= -size && index < size &&
         !llm::isWeightExpression(op.getInput());
}

void llmopt::sliceGathers(func::FuncOp function) {
  function.walk([&](llm::GatherOp op) {
    auto index = onlyIndex(op);
    if (!index || !isSlice(op, *index))
      return;
    OpBuilder builder(op);
    auto type = cast<RankedTensorType>(op.getInput().getType());
    int64_t axis = int64_t(op.getAxis()), first = *index < 0 ? *index + type.getDimSize(axis) : *index;
    auto bound = [&](int64_t value) -> Value {
      auto vector = RankedTensorType::get({1}, builder.getI64Type());
      return llm::ConstantOp::create(builder, op.getLoc(), DenseElementsAttr::get(vector, ArrayRef<int64_t>{value}));
    };
    SmallVector<int64_t> dims(type.getShape());
    dims[size_t(axis)] = 1;
    Value row = llm::SliceOp::create(builder, op.getLoc(), RankedTensorType::get(dims, type.getElementType()), op.getInput(), bound(first),
                                     bound(first + 1), builder.getDenseI64ArrayAttr(axis), builder.getDenseI64ArrayAttr(1));
    bool keepsDim = cast<RankedTensorType>(op.getIndices().getType()).getRank() == 1;
    if (!keepsDim)
      row = llm::SqueezeOp::create(builder, op.getLoc(), op.getType(), row, builder.getDenseI64ArrayAttr(axis));
    op.getResult().replaceAllUsesWith(row);
    op.erase();
  });
}
