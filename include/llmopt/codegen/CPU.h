//===- CPU.h - kernels to machine code --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_H
#define LLMOPT_CODEGEN_CPU_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace llmopt::cpu {

struct CodegenOptions {
  bool optimizeLoops = false; ///< LLVM's -O2 middle end before code generation
  bool assembly = false;      ///< return assembly text instead of an object
};

/// Registers the dialects and translations that generated kernels need.
void registerCodegenDialects(mlir::MLIRContext &context);

/// Lowers a module of kernels (func, scf, vector, arith, math, llvm) to the LLVM dialect, in place.
Status lowerToLLVM(mlir::ModuleOp module);
/// LLVM IR as text, after lowering (for dumps).
Result<std::string> toLLVMIR(mlir::ModuleOp module, const Target &target, const CodegenOptions &options);
/// Machine code for `target`: a relocatable object, or assembly.
Result<std::string> emitObject(mlir::ModuleOp module, const Target &target, const CodegenOptions &options);
/// Links objects in process into one shared object without dependencies: the artifact's code section.
Result<std::string> linkImage(const std::vector<std::string> &objects);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_H
