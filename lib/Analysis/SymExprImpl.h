//===- SymExprImpl.h - polynomials under symbolic expressions ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An expression is a polynomial over atoms (symbols, and what has no polynomial form: divisions, remainders, minima ...).
// Sums and products are computed on polynomials and interned afterwards, so products of sums are always written out and
// like terms always joined.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SYMEXPRIMPL_H
#define LLMOPT_LIB_ANALYSIS_SYMEXPRIMPL_H

#include "llmopt/lib/Analysis/SymExpr.h"

#include <unordered_map>

namespace llmopt {

using SymNode = SymExpr::Node;
using SymOp = SymExpr::Node::Op;

/// Order by structure, never by address: printed forms and code made from them are the same in every run.
int compareNodes(const SymNode *a, const SymNode *b);

/// Atoms in rising order, repeated for powers.
using Monomial = std::vector<const SymNode *>;
/// Graded lexicographic: the leading monomial is the last of a map. It is a monomial order, which division needs.
struct MonomialLess {
  bool operator()(const Monomial &a, const Monomial &b) const;
};

struct Polynomial {
  int64_t constant = 0;
  std::map<Monomial, int64_t, MonomialLess> terms; ///< no zero factors

  bool isConstant() const { return terms.empty(); }
  bool isZero() const { return terms.empty() && constant == 0; }
  /// Number of terms, the constant among them.
  size_t size() const { return terms.size() + (constant != 0); }
};

Polynomial toPolynomial(const SymNode *node);
// Nothing when a number leaves int64 or the result grows past what dimensions ever need.
std::optional<Polynomial> addScaled(Polynomial a, const Polynomial &b, int64_t scale);
std::optional<Polynomial> multiply(const Polynomial &a, const Polynomial &b);
/// `a / b` if no rest is left.
std::optional<Polynomial> divideExactly(const Polynomial &a, const Polynomial &b);
/// The monomial a / b, if b's atoms are all in a.
std::optional<Monomial> divideMonomials(const Monomial &a, const Monomial &b);

/// What is known of a value; an empty side is unbounded.
struct Bounds {
  std::optional<int64_t> low, high;
};

struct SymContext::Impl {
  /// Interned nodes by hash; nodes live as long as the context.
  std::unordered_map<size_t, std::vector<std::unique_ptr<SymNode>>> table;
  std::map<std::string, int64_t, std::less<>> minimums;
  const std::vector<SymExpr> *premises = nullptr; ///< known to be >= 0 at the moment

  const SymNode *intern(SymNode node);
  SymExpr make(const std::optional<Polynomial> &polynomial);
  SymExpr binary(SymOp op, SymExpr a, SymExpr b);
  Bounds bounds(const SymNode *node) const;
  Bounds bounds(const Polynomial &polynomial) const;
  /// `budget` limits the cases that minima, maxima and premises open.
  bool provenNonNegative(const Polynomial &polynomial, int &budget) const;
  /// Whether a premise, some times, and something proven make it up.
  bool followsFromPremises(const Polynomial &polynomial, int &budget) const;
  bool provenNonNegative(const Polynomial &polynomial) const {
    int budget = 64;
    return provenNonNegative(polynomial, budget);
  }
};

inline int64_t floorDivide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
inline int64_t ceilDivide(int64_t a, int64_t b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_SYMEXPRIMPL_H
