//===- LoopsSlices.cpp - operations along one axis at a time --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Loops.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

Operation *cpu::sliceOperation(exec::KernelOp kernel) {
  for (Operation &op : kernel.getBody().front())
    if (isa<llm::TopKOp, llm::CumSumOp, llm::ScatterElementsOp, llm::ScatterNDOp>(op))
      return &op;
  return nullptr;
}

Result<LoweredKernel> cpu::lowerSlices(exec::KernelOp kernel, Operation *op, FamilyContext &context) {
  return unsupported("E0912", op->getName().getStringRef().str() + " has no code yet", context.symbol);
}
