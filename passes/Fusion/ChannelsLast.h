//===- ChannelsLast.h - images with their channels in the last dimension -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_CHANNELSLAST_H
#define LLMOPT_PASSES_FUSION_CHANNELSLAST_H

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

namespace llmopt::fusion {

/// On the transposition behind a convolution that is computed with channels last: it may move down to where channels are wanted last again.
inline constexpr llvm::StringLiteral kChannelsFirst = "llm.channels_first";

inline mlir::Value numbers(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<int64_t> values) {
  auto type = mlir::RankedTensorType::get({int64_t(values.size())}, builder.getI64Type());
  return llm::ConstantOp::create(builder, loc, mlir::DenseElementsAttr::get(type, values));
}

inline mlir::Value reshaped(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> shape) {
  return llm::ReshapeOp::create(builder, loc, typeOf(value).clone(shape), value, numbers(builder, loc, shape), /*allowzero=*/false);
}

inline mlir::Value transposed(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> order) {
  llvm::SmallVector<int64_t> shape;
  for (int64_t axis : order)
    shape.push_back(typeOf(value).getDimSize(unsigned(axis)));
  return llm::TransposeOp::create(builder, loc, typeOf(value).clone(shape), value, builder.getDenseI64ArrayAttr(order));
}

/// [B, C, spatial] to [B, spatial, C].
inline llvm::SmallVector<int64_t> channelsLastOrder(int64_t rank) {
  llvm::SmallVector<int64_t> order{0};
  for (int64_t axis = 2; axis < rank; ++axis)
    order.push_back(axis);
  order.push_back(1);
  return order;
}
inline llvm::SmallVector<int64_t> channelsFirstOrder(int64_t rank) {
  llvm::SmallVector<int64_t> order{0, rank - 1};
  for (int64_t axis = 1; axis < rank - 1; ++axis)
    order.push_back(axis);
  return order;
}

inline mlir::Value channelsLast(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value) {
  return transposed(builder, loc, value, channelsLastOrder(typeOf(value).getRank()));
}
inline mlir::Value channelsFirst(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value) {
  mlir::Value result = transposed(builder, loc, value, channelsFirstOrder(typeOf(value).getRank()));
  result.getDefiningOp()->setAttr(kChannelsFirst, builder.getUnitAttr());
  return result;
}

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_CHANNELSLAST_H
