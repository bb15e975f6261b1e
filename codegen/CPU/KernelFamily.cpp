//===- KernelFamily.cpp - finds a generator by name -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/KernelFamily.h"

namespace llmopt::cpu {
#define LLMOPT_CPU_FAMILY(function, name) Result<LoweredKernel> function(exec::KernelOp kernel, FamilyContext &context);
#include "codegen/CPU/Families.def"
} // namespace llmopt::cpu

llmopt::cpu::LowerKernel llmopt::cpu::findFamily(llvm::StringRef name) {
#define LLMOPT_CPU_FAMILY(function, family)                                                                            \
  if (name == family)                                                                                                  \
    return function;
#include "codegen/CPU/Families.def"
  return nullptr;
}
