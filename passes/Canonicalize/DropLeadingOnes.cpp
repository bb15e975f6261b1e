//===- DropLeadingOnes.cpp - row vectors have one dimension ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.mul %x, %w : [B, S, D], [1, 1, D]   ==>   %y = llm.mul %x, %v : [B, S, D], [D]
//
// as Keras keeps scales and biases. Broadcasting aligns last dimensions, so leading ones of a weight say nothing where another operand has the rank.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static bool isWideRow(Value value) {
  auto type = typeOf(value);
  return type.getRank() > 1 && type.hasStaticShape() && type.getNumElements() == type.getShape().back() && llm::isWeightExpression(value);
}

Value llmopt::reshapeWeight(OpBuilder &builder, Value weight, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, typeOf(weight).getElementType());
  auto constant = weight.getDefiningOp<llm::ConstantOp>();
  if (auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr())
    return llm::ConstantOp::create(builder, weight.getLoc(), elements.reshape(type));
  auto sizes = DenseElementsAttr::get(RankedTensorType::get({int64_t(shape.size())}, builder.getI64Type()), shape);
  return llm::ReshapeOp::create(builder, weight.getLoc(), type, weight, llm::ConstantOp::create(builder, weight.getLoc(), sizes), /*allowzero=*/true);
}

void llmopt::dropLeadingOnes(func::FuncOp function) {
  function.walk([](Operation *op) {
    if (!op->hasTrait<llm::Elementwise>() || op->getNumOperands() < 2 || op->getNumResults() != 1 || llm::isWeightExpression(op->getResult(0)))
      return;
    for (OpOperand &operand : op->getOpOperands()) {
      bool another = llvm::any_of(op->getOpOperands(), [&](OpOperand &other) {
        return &other != &operand && typeOf(other.get()).getRank() >= typeOf(operand.get()).getRank() && !isWideRow(other.get());
      });
      if (!another || !isWideRow(operand.get()))
        continue;
      OpBuilder builder(op);
      operand.set(reshapeWeight(builder, operand.get(), typeOf(operand.get()).getShape().take_back()));
    }
  });
}
