//===- Rows.h - the family of normalizations --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ROWS_H
#define LLMOPT_CODEGEN_CPU_ROWS_H

#include "codegen/CPU/Loops.h"

namespace llmopt::cpu {

/// Family "rows": llm.layer_norm, llm.rms_norm and llm.softmax with elementwise neighbours.
Result<LoweredKernel> lowerRows(exec::KernelOp kernel, FamilyContext &context);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ROWS_H
