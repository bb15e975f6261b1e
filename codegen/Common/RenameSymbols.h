//===- RenameSymbols.h - a kernel for sizes of other names ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels get their sizes as numbers, so the code for [tokens, 64] is that for [rows, 64]; what the plan evaluates before is
// written in the names.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_RENAMESYMBOLS_H
#define LLMOPT_CODEGEN_COMMON_RENAMESYMBOLS_H

#include "codegen/Common/LoweredKernel.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "llvm/ADT/ArrayRef.h"

#include <map>
#include <string>
#include <vector>

namespace llmopt {

/// New name for an old one.
using SymbolNames = std::map<std::string, std::string>;

/// The symbols of some shapes, in order of first occurrence.
std::vector<std::string> symbolsOf(llvm::ArrayRef<const ValueShape *> shapes);

SymExpr renameSymbols(SymContext &symbols, SymExpr expr, const SymbolNames &names);
LoweredKernel renameSymbols(SymContext &symbols, LoweredKernel kernel, const SymbolNames &names);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_RENAMESYMBOLS_H
