//===- TiedTables.cpp - embedding tables that are projections too ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/TiedTables.h"

#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace llmopt;

/// A projection, of any entry, that streams the weight `table`; null if there is none.
static llm::LinearOp projectionOf(llm::WeightOp table) {
  llm::LinearOp found;
  table->getParentOfType<ModuleOp>().walk([&](llm::WeightOp weight) {
    if (weight.getName() != table.getName() || weight.getType() != table.getType())
      return WalkResult::advance();
    for (OpOperand &use : weight->getUses()) {
      auto kernel = dyn_cast<exec::KernelOp>(use.getOwner());
      if (!kernel || kernel.getFamily() != "linear")
        continue;
      Value argument = kernel.getBody().getArgument(use.getOperandNumber());
      for (Operation *user : argument.getUsers())
        if (auto linear = dyn_cast<llm::LinearOp>(user); linear && linear.getWeight() == argument)
          found = linear;
    }
    return found ? WalkResult::interrupt() : WalkResult::advance();
  });
  return found;
}

std::map<unsigned, WeightLayout> cpu::tiedTables(exec::KernelOp kernel) {
  std::map<unsigned, WeightLayout> layouts;
  kernel.getBody().walk([&](llm::EmbeddingOp embedding) {
    auto table = dyn_cast<BlockArgument>(embedding.getTable());
    auto weight = table ? kernel.getInputs()[table.getArgNumber()].getDefiningOp<llm::WeightOp>() : llm::WeightOp();
    std::optional<DType> type = weight ? llm::dtypeOf(getElementTypeOrSelf(weight.getType())) : std::nullopt;
    std::string_view layout = type ? panelLayout(*type) : "";
    if (layout.empty() || !llvm::all_of(table.getUsers(), llvm::IsaPred<llm::EmbeddingOp>))
      return;
    if (llm::LinearOp projection = projectionOf(weight))
      layouts[table.getArgNumber()] = {std::string(layout), !projection.getTransposed()};
  });
  return layouts;
}
