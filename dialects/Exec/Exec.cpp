//===- Exec.cpp - the exec dialect ----------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/Exec/Exec.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt::exec;

#include "llmopt/dialects/Exec/ExecDialect.cpp.inc"
#define GET_OP_CLASSES
#include "llmopt/dialects/Exec/ExecOps.cpp.inc"

void ExecDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "llmopt/dialects/Exec/ExecOps.cpp.inc"
      >();
}

LogicalResult KernelOp::verify() {
  Block &block = getBody().front();
  // kernel_c1: one block argument per operand, of its type.
  if (block.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("block arguments do not match the operands one for one");
  // kernel_c2: the yielded values have the result types.
  if (block.getTerminator()->getOperandTypes() != getOutputs().getTypes())
    return emitOpError("yielded types differ from the result types");
  return success();
}

void YieldOp::build(OpBuilder &, OperationState &) {}
