//===- SizeOperands.cpp - operands that say sizes -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/SizeOperands.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

bool llmopt::isSizeOperand(OpOperand &use) {
  unsigned index = use.getOperandNumber();
  return llvm::TypeSwitch<Operation *, bool>(use.getOwner())
      .Case<llm::ReshapeOp, llm::BroadcastOp, llm::TileOp, llm::TopKOp, llm::PadOp>([&](auto) { return index == 1; })
      .Case<llm::SliceOp>([&](auto) { return index == 1 || index == 2; })
      .Case<llm::RangeOp>([&](auto) { return true; })
      .Default([](Operation *) { return false; });
}
