//===- StructureHash.h - are two functions the same graph -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A hash over operations, types, attributes and symbolic dimensions. Dimensions are numbered as the arguments name them;
// names, locations, the order of operations that do not depend on each other, and the values of weights do not count. A weight is
// whatever depends on weights and constants alone and is no shape: a transposed matrix is as good as one stored that way.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_STRUCTUREHASH_H
#define LLMOPT_LIB_ANALYSIS_STRUCTUREHASH_H

#include "mlir/Interfaces/FunctionInterfaces.h"

#include <cstdint>

namespace llmopt {

/// The hash of a function of the llm dialect, one block long.
uint64_t structureHash(mlir::FunctionOpInterface function);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_STRUCTUREHASH_H
