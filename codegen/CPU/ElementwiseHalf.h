//===- ElementwiseHalf.h - f16 without conversion instructions --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ELEMENTWISEHALF_H
#define LLMOPT_CODEGEN_CPU_ELEMENTWISEHALF_H

#include "llmopt/lib/Target/Target.h"

#include "mlir/IR/Operation.h"

namespace llmopt::cpu {

/// Where the target lacks F16C, LLVM calls a library function for each conversion between f16 and f32. This replaces
/// `arith.extf` and `arith.truncf` under `root` by integer arithmetic of equal results. Call it when a kernel is written.
void expandHalfConversions(mlir::Operation *root, const Target &target);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ELEMENTWISEHALF_H
