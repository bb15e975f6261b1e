//===- RemarkSink.h - MLIR's remarks to the caller -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_REMARKSINK_H
#define LLMOPT_LIB_COMPILER_REMARKSINK_H

#include "llmopt/lib/Compiler/Remarks.h"

#include "mlir/IR/MLIRContext.h"

#include <functional>

namespace llmopt {

/// From now on remarks of `context` whose category matches `filter` go to `take`.
void collectRemarks(mlir::MLIRContext &context, const std::string &filter, std::function<void(CompileRemark)> take);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_REMARKSINK_H
