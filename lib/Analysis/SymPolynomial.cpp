//===- SymPolynomial.cpp - arithmetic under symbolic expressions ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "SymExprImpl.h"

#include <algorithm>

using namespace llmopt;

/// Dimensions of real models stay far below; past it an expression is given up as unknown.
static constexpr size_t kMaxTerms = 64;
static constexpr size_t kMaxDegree = 16;

int llmopt::compareNodes(const SymNode *a, const SymNode *b) {
  if (a == b)
    return 0;
  if (a->op != b->op)
    return a->op < b->op ? -1 : 1;
  if (a->value != b->value)
    return a->value < b->value ? -1 : 1;
  if (int order = a->name.compare(b->name))
    return order;
  if (a->operands.size() != b->operands.size())
    return a->operands.size() < b->operands.size() ? -1 : 1;
  for (size_t i = 0; i < a->operands.size(); ++i)
    if (int order = compareNodes(a->operands[i], b->operands[i]))
      return order;
  return a->factors < b->factors ? -1 : a->factors == b->factors ? 0 : 1;
}

bool MonomialLess::operator()(const Monomial &a, const Monomial &b) const {
  if (a.size() != b.size())
    return a.size() < b.size();
  // Of equal degree, the one with more of the first atom is the larger.
  for (size_t i = 0; i < a.size(); ++i)
    if (int order = compareNodes(a[i], b[i]))
      return order > 0;
  return false;
}

Polynomial llmopt::toPolynomial(const SymNode *node) {
  Polynomial result;
  auto monomial = [](const SymNode *term) {
    return term->op == SymOp::Product ? Monomial(term->operands) : Monomial{term};
  };
  if (node->op == SymOp::Constant) {
    result.constant = node->value;
  } else if (node->op == SymOp::Sum) {
    result.constant = node->value;
    for (size_t i = 0; i < node->operands.size(); ++i)
      result.terms.emplace(monomial(node->operands[i]), node->factors[i]);
  } else {
    result.terms.emplace(monomial(node), 1);
  }
  return result;
}

static bool addTerm(Polynomial &polynomial, const Monomial &monomial, int64_t factor) {
  if (factor == 0)
    return true;
  auto [it, inserted] = polynomial.terms.try_emplace(monomial, factor);
  if (!inserted) {
    if (__builtin_add_overflow(it->second, factor, &it->second))
      return false;
    if (it->second == 0)
      polynomial.terms.erase(it);
  }
  return polynomial.terms.size() <= kMaxTerms;
}

std::optional<Polynomial> llmopt::addScaled(Polynomial a, const Polynomial &b, int64_t scale) {
  int64_t product;
  if (__builtin_mul_overflow(b.constant, scale, &product) || __builtin_add_overflow(a.constant, product, &a.constant))
    return std::nullopt;
  for (const auto &[monomial, factor] : b.terms)
    if (__builtin_mul_overflow(factor, scale, &product) || !addTerm(a, monomial, product))
      return std::nullopt;
  return a;
}

static Monomial joined(const Monomial &a, const Monomial &b) {
  Monomial result(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), result.begin(),
             [](const SymNode *x, const SymNode *y) { return compareNodes(x, y) < 0; });
  return result;
}

/// factor * monomial * b
static std::optional<Polynomial> multiplyByTerm(const Polynomial &b, const Monomial &monomial, int64_t factor) {
  Polynomial result;
  int64_t product;
  if (__builtin_mul_overflow(b.constant, factor, &product))
    return std::nullopt;
  if (monomial.empty())
    result.constant = product;
  else if (!addTerm(result, monomial, product))
    return std::nullopt;
  for (const auto &[other, otherFactor] : b.terms) {
    if (other.size() + monomial.size() > kMaxDegree || __builtin_mul_overflow(otherFactor, factor, &product) ||
        !addTerm(result, joined(monomial, other), product))
      return std::nullopt;
  }
  return result;
}

std::optional<Polynomial> llmopt::multiply(const Polynomial &a, const Polynomial &b) {
  std::optional<Polynomial> result = multiplyByTerm(b, {}, a.constant);
  for (auto it = a.terms.begin(); result && it != a.terms.end(); ++it) {
    std::optional<Polynomial> part = multiplyByTerm(b, it->first, it->second);
    result = part ? addScaled(std::move(*result), *part, 1) : std::nullopt;
  }
  return result;
}

std::optional<Monomial> llmopt::divideMonomials(const Monomial &a, const Monomial &b) {
  Monomial rest;
  size_t matched = 0;
  for (const SymNode *atom : a) {
    if (matched < b.size() && b[matched] == atom)
      ++matched;
    else
      rest.push_back(atom);
  }
  return matched == b.size() ? std::optional(std::move(rest)) : std::nullopt;
}

std::optional<Polynomial> llmopt::divideExactly(const Polynomial &a, const Polynomial &b) {
  auto leading = [](const Polynomial &p) {
    return p.terms.empty() ? std::pair<Monomial, int64_t>({}, p.constant) : std::pair<Monomial, int64_t>(*p.terms.rbegin());
  };
  if (b.isZero())
    return std::nullopt;
  auto [divisor, divisorFactor] = leading(b);
  Polynomial quotient, rest = a;
  while (!rest.isZero()) {
    auto [monomial, factor] = leading(rest);
    std::optional<Monomial> part = divideMonomials(monomial, divisor);
    if (!part || (divisorFactor == -1 && factor == INT64_MIN) || factor % divisorFactor != 0)
      return std::nullopt;
    int64_t scale = factor / divisorFactor;
    if (part->empty())
      quotient.constant = scale;
    else if (!addTerm(quotient, *part, scale))
      return std::nullopt;
    // The leading term cancels, and all that is new is smaller: the loop ends.
    std::optional<Polynomial> taken = multiplyByTerm(b, *part, scale);
    std::optional<Polynomial> left = taken && scale != INT64_MIN ? addScaled(rest, *taken, -1) : std::nullopt;
    if (!left)
      return std::nullopt;
    rest = std::move(*left);
  }
  return quotient;
}
