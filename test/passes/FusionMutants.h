//===- FusionMutants.h - graphs that nearly satisfy a pattern ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_PASSES_FUSIONMUTANTS_H
#define LLMOPT_TEST_PASSES_FUSIONMUTANTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>
#include <vector>

namespace llmopt {

struct Mutant {
  std::string what;
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< one function
};

/// Every way to break one guard of whatever matches `function`: a value inside read once more, another constant, swapped or exchanged
/// operands, a detour over f16, another operation of the same signature, another axis. Only those that verify.
std::vector<Mutant> mutantsOf(mlir::func::FuncOp function);

} // namespace llmopt

#endif // LLMOPT_TEST_PASSES_FUSIONMUTANTS_H
