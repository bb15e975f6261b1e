//===- Passes.h - declarations generated from Passes.td ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_PASSES_H
#define LLMOPT_PASSES_PASSES_H

#include "llmopt/passes/Canonicalize.h"
#include "llmopt/passes/Fusion.h"
#include "llmopt/passes/Ragged.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace llmopt {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

#endif // LLMOPT_PASSES_PASSES_H
