//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Plan.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::plan;

// Saturating, so that a size that does not fit stays too large to be believed instead of becoming small.

static int64_t saturate(bool negative) { return negative ? INT64_MIN : INT64_MAX; }

static int64_t add(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_add_overflow(a, b, &result) ? saturate(a < 0) : result;
}
static int64_t subtract(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_sub_overflow(a, b, &result) ? saturate(a < 0) : result;
}
static int64_t multiply(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_mul_overflow(a, b, &result) ? saturate((a < 0) != (b < 0)) : result;
}
static int64_t floorDivide(int64_t a, int64_t b) {
  if (b == 0)
    return 0;
  if (b == -1)
    return subtract(0, a);
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}
static int64_t ceilDivide(int64_t a, int64_t b) {
  if (b == 0)
    return 0;
  if (b == -1)
    return subtract(0, a);
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) == (b < 0) ? quotient + 1 : quotient;
}
static int64_t floorModulo(int64_t a, int64_t b) {
  if (b == 0 || b == -1)
    return 0;
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int64_t apply(Expr::Op op, int64_t a, int64_t b) {
  switch (op) {
  case Expr::Op::Add:
    return add(a, b);
  case Expr::Op::Sub:
    return subtract(a, b);
  case Expr::Op::Mul:
    return multiply(a, b);
  case Expr::Op::FloorDiv:
    return floorDivide(a, b);
  case Expr::Op::CeilDiv:
    return ceilDivide(a, b);
  case Expr::Op::Mod:
    return floorModulo(a, b);
  case Expr::Op::Min:
    return std::min(a, b);
  case Expr::Op::Max:
    return std::max(a, b);
  case Expr::Op::Broadcast:
    return a == 1 ? b : a;
  default:
    return 0;
  }
}

std::vector<int64_t> plan::evaluate(std::span<const Expr> expressions, std::span<const int64_t> symbolValues) {
  std::vector<int64_t> values(expressions.size());
  for (size_t i = 0; i < expressions.size(); ++i) {
    const Expr &expr = expressions[i];
    if (expr.op == Expr::Op::Constant)
      values[i] = expr.value;
    else if (expr.op == Expr::Op::Symbol)
      values[i] = symbolValues[size_t(expr.value)];
    else
      values[i] = apply(expr.op, values[expr.lhs], values[expr.rhs]);
  }
  return values;
}
