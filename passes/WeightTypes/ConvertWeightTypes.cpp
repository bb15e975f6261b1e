//===- ConvertWeightTypes.cpp - number formats of weights ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %w = llm.weight "w" : tensor<8x4xf32>            %w = llm.weight "w" : tensor<8x4xf32>
//   %y = llm.linear %x, %w                    ==>    %c = llm.cast %w : tensor<8x4xf32> -> tensor<8x4xbf16>
//                                                    %y = llm.linear %x, %c
//
// An integer type quantizes instead: the operand of llm.linear or llm.grouped_linear becomes codes times scales, an expression over the weight (QuantizeMatrix.h).
//
//===----------------------------------------------------------------------===//
#include "passes/WeightTypes/QuantizeMatrix.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/LLM/StoredWeight.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace llmopt {
#define GEN_PASS_DECL_CONVERTWEIGHTTYPESPASS
#define GEN_PASS_DEF_CONVERTWEIGHTTYPESPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;

namespace {

class ConvertWeightTypesPass : public llmopt::impl::ConvertWeightTypesPassBase<ConvertWeightTypesPass> {
public:
  using ConvertWeightTypesPassBase::ConvertWeightTypesPassBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (matrixType.empty())
      return success();
    std::optional<DType> dtype = parseDType(matrixType);
    if (!dtype || (!isFloat(*dtype) && *dtype != DType::I8 && *dtype != DType::I4))
      return emitError(UnknownLoc::get(context)) << "matrix-type: '" << matrixType << "' is no float type, i8 or i4";
    matrixType_ = llm::elementTypeOf(context, *dtype);
    return success();
  }

  void runOnOperation() override {
    getOperation().walk([&](Operation *op) {
      for (OpOperand &operand : op->getOpOperands())
        if (llm::isStoredWeight(operand.get()) || isExperts(operand))
          convert(operand);
    });
  }

private:
  /// The matrices of a routed layer, which may be joined from one tensor an expert.
  static bool isExperts(OpOperand &use) {
    return isa<llm::GroupedLinearOp>(use.getOwner()) && use.getOperandNumber() == 1 && llm::isWeightExpression(use.get());
  }

  /// The element type this use wants, or null where it takes what there is.
  Type wanted(OpOperand &use) {
    Operation *op = use.getOwner();
    bool matrix = (isa<llm::LinearOp>(op) && use.getOperandNumber() == 1) ||
                  (isa<llm::EmbeddingOp>(op) && use.getOperandNumber() == 1) || isExperts(use);
    bool takesCodes = isa<llm::LinearOp>(op) || (isExperts(use) && roundExperts);
    if (matrix) // rows of a table are looked up, not multiplied: they stay what they are
      return isa_and_nonnull<IntegerType>(matrixType_) && !takesCodes ? Type() : matrixType_;
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
    if (isa<IntegerType>(element)) {
      auto linear = dyn_cast<llm::LinearOp>(use.getOwner());
      if (Value codes = quantizeMatrix(builder, use.get(), linear && linear.getTransposed(), element))
        use.set(codes);
      return;
    }
    use.set(llm::CastOp::create(builder, use.get().getLoc(), type.clone(element), use.get()));
  }

  Type matrixType_;
};

} // namespace
