//===- Strategy.cpp - the strategy dialect --------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/Strategy/Strategy.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt::strategy;

#include "llmopt/dialects/Strategy/StrategyDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "llmopt/dialects/Strategy/StrategyAttrs.cpp.inc"

void StrategyDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "llmopt/dialects/Strategy/StrategyAttrs.cpp.inc"
      >();
}
