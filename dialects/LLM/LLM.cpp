//===- LLM.cpp - the llm dialect ------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt::llm;

#include "llmopt/dialects/LLM/LLMDialect.cpp.inc"
#include "llmopt/dialects/LLM/LLMEnums.cpp.inc"
#include "llmopt/dialects/LLM/LLMOpInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "llmopt/dialects/LLM/LLMAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "llmopt/dialects/LLM/LLMOps.cpp.inc"

void LLMDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "llmopt/dialects/LLM/LLMAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "llmopt/dialects/LLM/LLMOps.cpp.inc"
      >();
}

Operation *LLMDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  return elements && elements.getType() == type ? ConstantOp::create(builder, loc, elements) : nullptr;
}

bool llmopt::llm::isWeightExpression(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || !isa_and_nonnull<LLMDialect>(op->getDialect()) || op->getNumResults() != 1)
    return false;
  return isa<WeightOp, ConstantOp>(op) || (op->getNumOperands() > 0 && llvm::all_of(op->getOperands(), isWeightExpression));
}

bool llmopt::llm::isView(Operation *op) { return isa<ReshapeOp, ExpandDimsOp, SqueezeOp, FlattenOp>(op); }
