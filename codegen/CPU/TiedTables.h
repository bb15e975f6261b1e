//===- TiedTables.h - embedding tables that are projections too -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_TIEDTABLES_H
#define LLMOPT_CODEGEN_CPU_TIEDTABLES_H

#include "codegen/Common/LoweredKernel.h"
#include "llmopt/dialects/Exec/Exec.h"

namespace llmopt::cpu {

/// Layouts, by operand, of tables whose rows the kernel looks up and which a projection streams as its weights (tied embeddings): the
/// projection's, so that a file holds them once.
std::map<unsigned, WeightLayout> tiedTables(exec::KernelOp kernel);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_TIEDTABLES_H
