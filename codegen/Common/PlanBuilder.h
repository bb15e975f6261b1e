//===- PlanBuilder.h - from exec.kernel lists to the plan ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns each function of a module in phase Strategy into an entry point of the plan. Kernels with equal regions, shapes and
// strategies are lowered once.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_PLANBUILDER_H
#define LLMOPT_CODEGEN_COMMON_PLANBUILDER_H

#include "codegen/Common/LoweredKernel.h"
#include "codegen/Common/WeightTable.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Artifact/Plan.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace llmopt {

/// Lowers one kernel; `symbol` is a name for its functions that no other kernel has.
using LowerKernelCallback =
    llvm::function_ref<Result<LoweredKernel>(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol)>;

Result<plan::Plan> buildPlan(mlir::ModuleOp module, SymContext &symbols, WeightTable &weights, LowerKernelCallback lower);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_PLANBUILDER_H
