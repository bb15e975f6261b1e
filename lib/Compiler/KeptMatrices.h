//===- KeptMatrices.h - what --dtype=int8 and int4 do not round -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_KEPTMATRICES_H
#define LLMOPT_LIB_COMPILER_KEPTMATRICES_H

#include "llmopt/lib/Compiler/CompileOptions.h"

#include <optional>
#include <string>

namespace mlir {
class ModuleOp;
}

namespace llmopt {

/// A warning where a twentieth or more of the weights in products stay as they are: those whose inputs fill no blocks, and experts' for GPUs, whose kernels take no codes.
/// `planned`: a module of kernels.
std::optional<std::string> warnOfKeptMatrices(mlir::ModuleOp planned, WeightFormat dtype);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_KEPTMATRICES_H
