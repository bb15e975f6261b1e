//===- TargetCode.h - kernels of one target to its plan and code -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_TARGETCODE_H
#define LLMOPT_LIB_COMPILER_TARGETCODE_H

#include "codegen/CUDA/KernelLibrary.h"
#include "codegen/Common/PlanBuilder.h"
#include "lib/Compiler/Tuning.h"
#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Target/Target.h"

namespace llmopt {

struct TargetCode {
  plan::Plan plan;
  std::string image;                    ///< the linked code, for EmitKind::Artifact
  std::string launchMetadata;           ///< a GPU's section "kernels/<target>"
  std::vector<std::string> texts;       ///< assembly, LLVM IR or MLIR of the kernels, for the other kinds
  size_t kernels = 0;
  std::vector<std::string> warnings;
};

/// Phases Strategy, Lowered and Binary for one target. `planned` is changed (strategies are written into it).
Result<TargetCode> compileForTarget(mlir::ModuleOp planned, const Target &target, const CompileOptions &options,
                                    SymContext &symbols, WeightTable &weights, Tuning &tuning, const cuda::KernelLibrary &library);

/// The same for a GPU, from phase Lowered on.
Result<TargetCode> compileForDevice(mlir::ModuleOp planned, const Target &target, const CompileOptions &options, SymContext &symbols,
                                    WeightTable &weights, const cuda::KernelLibrary &library);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_TARGETCODE_H
