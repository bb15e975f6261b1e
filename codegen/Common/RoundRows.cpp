//===- RoundRows.cpp - rows that products in bf16 read --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/RoundRows.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/Strategy/Strategy.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace llmopt;

namespace {

RankedTensorType inBf16(Value rows) { return cast<RankedTensorType>(rows.getType()).clone(BFloat16Type::get(rows.getContext())); }

/// Whether the kernel that uses these rows does nothing but multiply them in bf16.
bool onlyMultiplies(OpOperand &use) {
  auto kernel = dyn_cast<exec::KernelOp>(use.getOwner());
  auto strategy = kernel ? dyn_cast_or_null<strategy::GemmAttr>(kernel.getStrategyAttr()) : nullptr;
  if (!strategy || !strategy.getBf16Products() || kernel.getFamily() != "linear")
    return false;
  BlockArgument rows = kernel.getBody().getArgument(use.getOperandNumber());
  return llvm::all_of(rows.getUses(), [](OpOperand &inner) { return isa<llm::LinearOp>(inner.getOwner()) && inner.getOperandNumber() == 0; });
}

/// Whether a kernel computes this result from a projection (others may be that of a norm in front).
bool isProduct(exec::KernelOp kernel, Value yielded) {
  auto linears = kernel.getBody().getOps<llm::LinearOp>();
  Operation *op = yielded.getDefiningOp();
  return kernel.getFamily() == "linear" && op && !linears.empty() && (isa<llm::LinearOp>(op) || (*linears.begin())->isBeforeInBlock(op));
}

void readRounded(OpOperand &use) {
  BlockArgument rows = cast<exec::KernelOp>(use.getOwner()).getBody().getArgument(use.getOperandNumber());
  Type type = rows.getType();
  rows.setType(inBf16(rows));
  OpBuilder builder = OpBuilder::atBlockBegin(rows.getOwner());
  auto cast = llm::CastOp::create(builder, rows.getLoc(), type, rows);
  rows.replaceAllUsesExcept(cast.getResult(), cast);
}

void roundResult(exec::KernelOp kernel, OpResult result) {
  for (OpOperand &use : result.getUses())
    readRounded(use);
  Operation *terminator = kernel.getBody().front().getTerminator();
  Value yielded = terminator->getOperand(result.getResultNumber());
  OpBuilder builder(terminator);
  terminator->setOperand(result.getResultNumber(), llm::CastOp::create(builder, yielded.getLoc(), inBf16(yielded), yielded));
  result.setType(inBf16(result));
}

} // namespace

void llmopt::roundRows(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>())
    for (auto kernel : function.getOps<exec::KernelOp>())
      for (OpResult result : kernel.getOutputs()) {
        auto type = cast<RankedTensorType>(result.getType());
        bool even = type.getRank() > 0 && !type.isDynamicDim(type.getRank() - 1) && type.getShape().back() % 2 == 0;
        if (type.getElementType().isF32() && even && !result.use_empty() && llvm::all_of(result.getUses(), onlyMultiplies) &&
            isProduct(kernel, kernel.getBody().front().getTerminator()->getOperand(result.getResultNumber())))
          roundResult(kernel, result);
      }
}
