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

#include <span>
#include <string>
#include <vector>

namespace llmopt::cpu {

/// Kernels on their way to machine code.
struct CodeModule {
  mlir::ModuleOp module;
  bool optimizeLoops = false; ///< LLVM's -O2 middle end before code generation
};

enum class CodeKind { LLVMIR, Assembly, Object };

/// Registers the dialects and translations that generated kernels need.
void registerCodegenDialects(mlir::MLIRContext &context);

/// Lowers a module of kernels (func, scf, vector, arith, math, llvm) to the LLVM dialect, in place.
Status lowerToLLVM(mlir::ModuleOp module);
/// Lowered modules as one file for `target`: LLVM IR as text, assembly, or a relocatable object.
Result<std::string> emitCode(std::span<const CodeModule> modules, const Target &target, CodeKind kind);
/// Links objects in process into one shared object without dependencies: the artifact's code section.
Result<std::string> linkImage(const std::vector<std::string> &objects);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_H
