//===- KernelFamily.cpp - finds the generator of a kernel ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/KernelFamily.h"

#include "codegen/CPU/TiedTables.h"

namespace llmopt::cpu {
#define LLMOPT_CPU_FAMILY(function, name) Result<LoweredKernel> function(exec::KernelOp kernel, FamilyContext &context);
#include "codegen/CPU/Families.def"
} // namespace llmopt::cpu

using namespace llmopt;

/// Finds a generator; null if there is none.
static cpu::LowerKernel findFamily(llvm::StringRef name) {
#define LLMOPT_CPU_FAMILY(function, family)                                                                            \
  if (name == family)                                                                                                  \
    return cpu::function;
#include "codegen/CPU/Families.def"
  return nullptr;
}

Result<LoweredKernel> cpu::lowerByFamily(llvm::StringRef name, exec::KernelOp kernel, FamilyContext &context) {
  LowerKernel family = findFamily(name);
  if (!family)
    return internalError("E0907", "no generator for kernels of family '" + name.str() + "'");
  context.tables = tiedTables(kernel);
  LLMOPT_ASSIGN(LoweredKernel lowered, family(kernel, context));
  lowered.weightLayouts.insert(context.tables.begin(), context.tables.end());
  return lowered;
}
