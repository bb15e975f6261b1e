//===- SizeOperands.h - operands that say sizes -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SIZEOPERANDS_H
#define LLMOPT_LIB_ANALYSIS_SIZEOPERANDS_H

#include "mlir/IR/Operation.h"

namespace llmopt {

/// True for operands that tell an operation how large its result is (the shape of a reshape, the bounds of a slice), not what to
/// compute with.
bool isSizeOperand(mlir::OpOperand &use);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_SIZEOPERANDS_H
