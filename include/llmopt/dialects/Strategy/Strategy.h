//===- Strategy.h - the strategy dialect ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_STRATEGY_STRATEGY_H
#define LLMOPT_DIALECTS_STRATEGY_STRATEGY_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/Dialect.h"

#include "llmopt/dialects/Strategy/StrategyDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "llmopt/dialects/Strategy/StrategyAttrs.h.inc"

#endif // LLMOPT_DIALECTS_STRATEGY_STRATEGY_H
