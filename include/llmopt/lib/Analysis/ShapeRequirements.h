//===- ShapeRequirements.h - what sizes must satisfy --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Symbols stand for sizes that inputs bring along. A graph makes sense for some of their values only: a sum of [a] and [b] needs
// a == b, or 1. Code is generated as if that held, so it must be checked before the code runs.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SHAPEREQUIREMENTS_H
#define LLMOPT_LIB_ANALYSIS_SHAPEREQUIREMENTS_H

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include <vector>

namespace llmopt {

struct ShapeRequirement {
  enum class Relation { LessEqual, Equal, OneOrEqual }; ///< OneOrEqual: lhs == 1 or lhs == rhs
  Relation relation;
  SymExpr lhs, rhs;
  mlir::Location location;
};

/// Of all operations of a function that `shapes` has run over, regions included: the analysis' assumptions, and operands that
/// must fit each other. What is proven, or not known at all, is left out; nothing occurs twice.
std::vector<ShapeRequirement> shapeRequirements(mlir::Operation *function, ShapeAnalysis &shapes);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_SHAPEREQUIREMENTS_H
