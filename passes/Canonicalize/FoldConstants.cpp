//===- FoldConstants.cpp - what is known when compiling ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %s = llm.shape %x : tensor<2x?x64xf32>            %0 = llm.constant dense<64>
//   %d = llm.gather %s, %two                    ==>   (the gather's element is known, the shape's middle is not)
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Canonicalize.h"

#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLExtras.h"

namespace llmopt {
#define GEN_PASS_DECL_FOLDCONSTANTSPASS
#define GEN_PASS_DEF_FOLDCONSTANTSPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;

namespace {

constexpr int64_t kMaxFoldedBytes = 1 << 20;
/// What moves past one operation may meet another that had been passed by.
constexpr int kRounds = 2;

bool isFoldable(Operation *op) {
  return op->getNumResults() == 1 && op->getNumOperands() > 0 && isMemoryEffectFree(op) &&
         isa_and_nonnull<llm::LLMDialect>(op->getDialect()) &&
         llvm::all_of(op->getOperands(), [](Value operand) { return operand.getDefiningOp<llm::ConstantOp>() != nullptr; });
}

bool isSmall(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (!type.hasStaticShape())
    return true; // evaluation tells; its operands are constants of the IR
  unsigned bits = type.getElementTypeBitWidth();
  return type.getNumElements() <= kMaxFoldedBytes * 8 / int64_t(std::max(bits, 8u));
}

class FoldConstantsPass : public llmopt::impl::FoldConstantsPassBase<FoldConstantsPass> {
public:
  explicit FoldConstantsPass(const WeightStore &weights) : weights_(weights) {}

  void runOnOperation() override {
    Interpreter interpreter(getOperation(), weights_);
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (int round = 0; round < kRounds; ++round) {
        widenHalf(function);
        foldSolvedSizes(function);
        foldConstantOperands(function, interpreter);
        dropNoOps(function);
        dropLeadingOnes(function);
        gatherRows(function);
        sliceGathers(function);
        sliceConcats(function);
        sinkViews(function);
        resolveShapes(function);
        eraseUnused(function);
      }
  }

private:
  /// Integer tensors whose elements the shape analysis knows as numbers.
  void foldSolvedSizes(func::FuncOp function) {
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    shapes.run(function);
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) {
      if (op->getNumResults() == 1 && !isa<llm::ConstantOp, llm::WeightOp>(op) && isa_and_nonnull<llm::LLMDialect>(op->getDialect()))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
      if (!type || !type.getElementType().isSignlessInteger() || type.getElementTypeBitWidth() < 32)
        continue;
      auto elements = shapes.constantElements(op->getResult(0));
      if (!elements)
        continue;
      if (!type.hasStaticShape())
        type = RankedTensorType::get({int64_t(elements->size())}, type.getElementType());
      if (type.getNumElements() != int64_t(elements->size()))
        continue;
      SmallVector<Attribute> values;
      for (int64_t element : *elements)
        values.push_back(IntegerAttr::get(type.getElementType(), element));
      replace(op, DenseElementsAttr::get(type, values));
    }
  }

  void foldConstantOperands(func::FuncOp function, Interpreter &interpreter) {
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops) {
      if (!isFoldable(op) || !isSmall(op->getResult(0)))
        continue;
      Result<Tensor> value = interpreter.evaluate(op->getResult(0));
      if (value && int64_t(value->bytes()) <= kMaxFoldedBytes) // an error is the run time's to report
        replace(op, llm::elementsFromTensor(&getContext(), *value));
    }
  }

  /// A value with one reader less may move.
  static void eraseUnused(func::FuncOp function) {
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : llvm::reverse(ops))
      if (isa_and_nonnull<llm::LLMDialect>(op->getDialect()) && op->getNumRegions() == 0 && op->use_empty() && isMemoryEffectFree(op))
        op->erase();
  }

  void replace(Operation *op, DenseElementsAttr value) {
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    if (value.getType() != type && type.hasStaticShape())
      return;
    OpBuilder builder(op);
    auto constant = llm::ConstantOp::create(builder, op->getLoc(), value);
    op->getResult(0).replaceAllUsesWith(constant.getResult());
    op->erase();
  }

  const WeightStore &weights_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createFoldConstantsPass() {
  static const WeightStore none;
  return createFoldConstantsPass(none);
}

std::unique_ptr<Pass> llmopt::createFoldConstantsPass(const WeightStore &weights) {
  return std::make_unique<FoldConstantsPass>(weights);
}
