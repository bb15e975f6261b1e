//===- StoredWeight.cpp - tensors as a model stores them -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/StoredWeight.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt;

bool llm::isStoredWeight(Value value) {
  Operation *op = value.getDefiningOp();
  while (isa_and_nonnull<SliceOp, TransposeOp, ReshapeOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return isa_and_nonnull<WeightOp>(op);
}
