//===- KernelFamily.h - what a kernel generator takes and gives -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A family turns one `exec.kernel` region, its strategy chosen, into functions of the kernel ABI. Families are listed in
// Families.def; each is one folder or file here. The bindings of a kernel are its inputs, its outputs, and then the
// key-value states it touches, in that order.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_KERNELFAMILY_H
#define LLMOPT_CODEGEN_CPU_KERNELFAMILY_H

#include "codegen/CPU/KernelBuilder.h"
#include "codegen/Common/LoweredKernel.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include <string>

namespace llmopt::cpu {

/// What a family gets besides the kernel.
struct FamilyContext {
  mlir::ModuleOp module;     ///< functions are added here
  ShapeAnalysis &shapes;     ///< knows every value of the kernel's region
  const Target &target;
  std::string symbol;        ///< prefix for function names, unique
  std::map<unsigned, WeightLayout> tables = {}; ///< layouts of tables that rows are looked up in, by operand; others are row major
};

/// Dims are numbered per kernel, so all variants of a kernel must ask for them in the same order: pass the list on.
using LowerKernel = Result<LoweredKernel> (*)(exec::KernelOp kernel, FamilyContext &context);

/// Lowers a kernel by the generator of that name (usually the kernel's own `family`), which fails if there is none.
Result<LoweredKernel> lowerByFamily(llvm::StringRef name, exec::KernelOp kernel, FamilyContext &context);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_KERNELFAMILY_H
