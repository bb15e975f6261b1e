//===- ConvertWeightTypes.cpp - number formats of weights ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %w = llm.weight "w" : tensor<8x4xf32>            %w = llm.weight "w" : tensor<8x4xf32>
//   %y = llm.linear %x, %w                    ==>    %c = llm.cast %w : tensor<8x4xf32> -> tensor<8x4xbf16>
//                                                    %y = llm.linear %x, %c
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/WeightTypes.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace llmopt;

namespace {

class ConvertWeightTypesPass : public PassWrapper<ConvertWeightTypesPass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertWeightTypesPass)
  explicit ConvertWeightTypesPass(Type matrixType) : matrixType_(matrixType) {}
  StringRef getArgument() const override { return "llmopt-convert-weight-types"; }
  StringRef getDescription() const override { return "Casts weights to the number format they are stored in"; }

  void runOnOperation() override {
    getOperation().walk([&](Operation *op) {
      for (OpOperand &operand : op->getOpOperands())
        if (operand.get().getDefiningOp<llm::WeightOp>())
          convert(operand);
    });
  }

private:
  /// The element type this use wants, or null where it takes what there is.
  Type wanted(OpOperand &use) {
    Operation *op = use.getOwner();
    bool matrix = (isa<llm::LinearOp>(op) && use.getOperandNumber() == 1) ||
                  (isa<llm::EmbeddingOp>(op) && use.getOperandNumber() == 1);
    if (matrix)
      return matrixType_;
    if (!isa<llm::LinearOp, llm::LayerNormOp, llm::RMSNormOp, llm::PagedAttentionOp>(op))
      return {};
    auto input = cast<RankedTensorType>(op->getOperand(0).getType());
    return input.getElementType();
  }

  void convert(OpOperand &use) {
    auto type = cast<RankedTensorType>(use.get().getType());
    Type element = wanted(use);
    if (!element || element == type.getElementType() || !isa<FloatType>(type.getElementType()))
      return;
    OpBuilder builder(use.getOwner());
    builder.setInsertionPointAfterValue(use.get());
    use.set(llm::CastOp::create(builder, use.get().getLoc(), type.clone(element), use.get()));
  }

  Type matrixType_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createConvertWeightTypesPass(Type matrixType) {
  return std::make_unique<ConvertWeightTypesPass>(matrixType);
}
