//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Plan.h"

using namespace llmopt;
using namespace llmopt::plan;

/// Expressions share parts, so that a deep one written out could become very long.
static constexpr int kMaxDepth = 6;

static std::string describeExpr(const Entry &entry, ExprId id, int depth, bool nested) {
  const Expr &expr = entry.expressions[id];
  if (expr.op == Expr::Op::Constant)
    return std::to_string(expr.value);
  if (expr.op == Expr::Op::Symbol)
    return entry.symbols[size_t(expr.value)];
  if (depth == kMaxDepth)
    return "...";
  static constexpr const char *kSigns[] = {"", "", " + ", " - ", " * ", " // ", " ceildiv ", " % ", "min", "max", "broadcast"};
  std::string sign = kSigns[size_t(expr.op)];
  bool call = expr.op >= Expr::Op::Min;
  std::string lhs = describeExpr(entry, expr.lhs, depth + 1, !call), rhs = describeExpr(entry, expr.rhs, depth + 1, !call);
  if (call)
    return sign + "(" + lhs + ", " + rhs + ")";
  return nested ? "(" + lhs + sign + rhs + ")" : lhs + sign + rhs;
}

std::string plan::describeDim(const Entry &entry, ExprId dim) { return describeExpr(entry, dim, 0, false); }

std::string plan::describeType(const Entry &entry, const Buffer &buffer) {
  std::string text(dtypeName(buffer.dtype));
  text += '[';
  for (size_t i = 0; i < buffer.shape.size(); ++i)
    text += (i ? ", " : "") + describeDim(entry, buffer.shape[i]);
  return text + ']';
}
