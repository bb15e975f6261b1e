//===- OptimizeModule.h - LLVM's passes over a module of kernels -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_OPTIMIZEMODULE_H
#define LLMOPT_CODEGEN_COMMON_OPTIMIZEMODULE_H

namespace llvm {
class Module;
class OptimizationLevel;
class TargetMachine;
} // namespace llvm

namespace llmopt {

/// LLVM's default pipeline of that level, which knows the target.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine, llvm::OptimizationLevel level);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_OPTIMIZEMODULE_H
