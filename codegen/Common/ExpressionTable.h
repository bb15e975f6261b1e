//===- ExpressionTable.h - symbolic expressions as plan data ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_EXPRESSIONTABLE_H
#define LLMOPT_CODEGEN_COMMON_EXPRESSIONTABLE_H

#include "llmopt/lib/Analysis/SymExpr.h"
#include "llmopt/lib/Artifact/Plan.h"

#include <map>

namespace llmopt {

/// Appends expressions to an entry point; equal ones share a row.
class ExpressionTable {
public:
  explicit ExpressionTable(plan::Entry &entry) : entry_(entry) {}

  plan::ExprId add(SymExpr expr);
  plan::ExprId constant(int64_t value);
  plan::ExprId binary(plan::Expr::Op op, plan::ExprId lhs, plan::ExprId rhs);
  /// Symbols used by an expression that are none of the entry's (its inputs do not tell their values).
  const std::vector<std::string> &unknownSymbols() const { return unknownSymbols_; }

private:
  plan::ExprId add(const SymExpr::Node *node);
  plan::ExprId push(const plan::Expr &expr);
  plan::Entry &entry_;
  std::map<const SymExpr::Node *, plan::ExprId> known_;
  std::map<std::tuple<int, int64_t, plan::ExprId, plan::ExprId>, plan::ExprId> rows_;
  std::vector<std::string> unknownSymbols_;
};

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_EXPRESSIONTABLE_H
