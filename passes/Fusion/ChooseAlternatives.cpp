//===- ChooseAlternatives.cpp - fused or apart --------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.attention %q, %k, %v     ==>     %s = llm.matmul %q, ..; %p = llm.softmax ..; %y = llm.matmul %p, %v
//
// where that is faster for these shapes. Comes after everything that wants to see attention as one operation.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Alternatives.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace llmopt;

StringRef llmopt::fusionThatMayLose(Operation *op) {
#define LLMOPT_FUSION_ALTERNATIVE(name, Operation)                                                                     \
  if (isa<Operation>(op))                                                                                              \
    return name;
#include "passes/Fusion/Alternatives.def"
  return {};
}

namespace {

class ChooseAlternativesPass : public PassWrapper<ChooseAlternativesPass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ChooseAlternativesPass)
  explicit ChooseAlternativesPass(ChooseFusion choose) : choose_(std::move(choose)) {}
  StringRef getArgument() const override { return "llmopt-choose-alternatives"; }

  void runOnOperation() override {
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    SmallVector<Operation *> candidates, apart;
    getOperation().walk([&](Operation *op) {
      if (!fusionThatMayLose(op).empty())
        candidates.push_back(op);
    });
    if (!candidates.empty())
      shapes.run(getOperation());
    for (Operation *op : candidates) {
      StringRef fusion = fusionThatMayLose(op);
      FusionChoice choice = choose_(fusion, op, shapes);
      remark::analysis(op->getLoc(), remark::RemarkOpts::name(fusion).category("fusion"))
          << remark::metric("Choice", choice.fused ? "fused" : "apart") << remark::metric("By", choice.source) << remark::metric("Times", choice.times);
      if (!choice.fused)
        apart.push_back(op);
    }
    for (Operation *op : apart) {
      OpBuilder builder(op);
      auto values = cast<llm::Decomposable>(op).decompose(builder);
      if (failed(values))
        continue; // no such shape after all: stays fused
      op->replaceAllUsesWith(*values);
      op->erase();
    }
  }

private:
  ChooseFusion choose_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createChooseAlternativesPass(ChooseFusion choose) {
  return std::make_unique<ChooseAlternativesPass>(std::move(choose));
}
