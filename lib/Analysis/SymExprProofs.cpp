//===- SymExprProofs.cpp - what holds for all values of the symbols -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "SymExprImpl.h"

#include <algorithm>
#include <numeric>
#include <utility>

using namespace llmopt;

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

static std::optional<int64_t> plus(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t sum;
  return a && b && !__builtin_add_overflow(*a, *b, &sum) ? std::optional(sum) : std::nullopt;
}

static std::optional<int64_t> times(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t product;
  return a && b && !__builtin_mul_overflow(*a, *b, &product) ? std::optional(product) : std::nullopt;
}

static Bounds divideBounds(Bounds top, Bounds bottom, bool up) {
  // Only divisions of something >= 0 by something >= 1 have been worth bounding.
  if (top.low.value_or(-1) < 0 || bottom.low.value_or(0) < 1)
    return {};
  auto quotient = [&](int64_t a, int64_t b) { return up ? ceilDivide(a, b) : floorDivide(a, b); };
  Bounds result{0, {}};
  if (bottom.high)
    result.low = quotient(*top.low, *bottom.high);
  if (top.high)
    result.high = quotient(*top.high, *bottom.low);
  return result;
}

Bounds SymContext::Impl::bounds(const SymNode *node) const {
  auto operand = [&](size_t i) { return bounds(node->operands[i]); };
  auto least = [](std::optional<int64_t> a, std::optional<int64_t> b) { return a && b ? std::optional(std::min(*a, *b)) : std::nullopt; };
  auto most = [](std::optional<int64_t> a, std::optional<int64_t> b) { return a && b ? std::optional(std::max(*a, *b)) : std::nullopt; };
  switch (node->op) {
  case SymOp::Constant:
    return {node->value, node->value};
  case SymOp::Symbol: {
    auto it = minimums.find(node->name);
    return {it == minimums.end() ? 0 : it->second, {}};
  }
  case SymOp::Sum:
  case SymOp::Product:
    return bounds(toPolynomial(node));
  case SymOp::FloorDiv:
    return divideBounds(operand(0), operand(1), /*up=*/false);
  case SymOp::CeilDiv:
    return divideBounds(operand(0), operand(1), /*up=*/true);
  case SymOp::Mod: {
    Bounds divisor = operand(1);
    if (divisor.low.value_or(0) < 1)
      return {};
    return {0, divisor.high ? std::optional(*divisor.high - 1) : std::nullopt};
  }
  case SymOp::Min: {
    // One bounded side is enough for the upper bound.
    Bounds a = operand(0), b = operand(1);
    return {least(a.low, b.low), a.high && b.high ? least(a.high, b.high) : a.high ? a.high : b.high};
  }
  case SymOp::Max: {
    Bounds a = operand(0), b = operand(1);
    return {a.low && b.low ? most(a.low, b.low) : a.low ? a.low : b.low, most(a.high, b.high)};
  }
  case SymOp::Broadcast: {
    Bounds a = operand(0), b = operand(1);
    return {least(a.low, b.low), most(a.high, b.high)};
  }
  }
  return {};
}

Bounds SymContext::Impl::bounds(const Polynomial &polynomial) const {
  Bounds sum{polynomial.constant, polynomial.constant};
  for (const auto &[monomial, factor] : polynomial.terms) {
    Bounds product{1, 1};
    for (const SymNode *atom : monomial) {
      Bounds part = bounds(atom);
      // Of a product only the case of no negative part is followed, except for a single atom.
      if (monomial.size() > 1 && part.low.value_or(-1) < 0)
        return {};
      product = {times(product.low, part.low), times(product.high, part.high)};
    }
    if (factor < 0)
      std::swap(product.low, product.high);
    sum = {plus(sum.low, times(product.low, factor)), plus(sum.high, times(product.high, factor))};
  }
  return sum;
}

//===----------------------------------------------------------------------===//
// Proofs
//===----------------------------------------------------------------------===//

/// `polynomial` with one term factor * atom written as factor * replacement.
static std::optional<Polynomial> substituted(Polynomial polynomial, const SymNode *atom, int64_t factor, const SymNode *replacement) {
  polynomial.terms.erase(Monomial{atom});
  return addScaled(std::move(polynomial), toPolynomial(replacement), factor);
}

bool SymContext::Impl::provenNonNegative(const Polynomial &polynomial, int &budget) const {
  if (bounds(polynomial).low.value_or(-1) >= 0)
    return true;
  for (const auto &[monomial, factor] : polynomial.terms) {
    const SymNode *atom = monomial.front();
    if (monomial.size() != 1 || atom->op == SymOp::Symbol || --budget < 0)
      continue;
    auto holdsWith = [&, factor = factor](size_t i) {
      std::optional<Polynomial> other = substituted(polynomial, atom, factor, atom->operands[i]);
      return other && provenNonNegative(*other, budget);
    };
    switch (atom->op) {
    case SymOp::Max:
    case SymOp::Min:
      // max >= each of its operands, so one of them is a lower bound of +max; of -max only both together are.
      if ((atom->op == SymOp::Max) == (factor > 0) ? holdsWith(0) || holdsWith(1) : holdsWith(0) && holdsWith(1))
        return true;
      break;
    case SymOp::Broadcast:
      if (holdsWith(0) && holdsWith(1))
        return true;
      break;
    case SymOp::FloorDiv:
    case SymOp::CeilDiv:
    case SymOp::Mod:
      // x / c <= x and x mod c <= x for x >= 0, c >= 1.
      if (factor < 0 && bounds(atom->operands[0]).low.value_or(-1) >= 0 && bounds(atom->operands[1]).low.value_or(0) >= 1 &&
          holdsWith(0))
        return true;
      break;
    default:
      break;
    }
  }
  return followsFromPremises(polynomial, budget);
}

bool SymContext::Impl::followsFromPremises(const Polynomial &polynomial, int &budget) const {
  if (!premises)
    return false;
  for (SymExpr expr : *premises) {
    Polynomial premise = toPolynomial(expr.node());
    if (premise.isConstant())
      continue;
    // Taken as often as makes its leading term vanish: what is left has smaller terms only, so this ends.
    const auto &[leading, factor] = *premise.terms.rbegin();
    auto term = polynomial.terms.find(leading);
    if (term == polynomial.terms.end() || term->second % factor != 0 || term->second / factor <= 0 || --budget < 0)
      continue;
    std::optional<Polynomial> rest = addScaled(polynomial, premise, -(term->second / factor));
    if (rest && provenNonNegative(*rest, budget))
      return true;
  }
  return false;
}

SymContext::Premises::Premises(SymContext &context, const std::vector<SymExpr> &notNegative)
    : context_(context), before_(std::exchange(context.impl_->premises, &notNegative)) {}

SymContext::Premises::~Premises() { context_.impl_->premises = before_; }

bool SymContext::provenLessEqual(SymExpr a, SymExpr b) {
  if (!a.known() || !b.known())
    return false;
  std::optional<Polynomial> difference = addScaled(toPolynomial(b.node()), toPolynomial(a.node()), -1);
  return difference && impl_->provenNonNegative(*difference);
}

/// The largest number known to divide the node's value; 0 for the value 0.
static int64_t knownDivisor(const SymNode *node) {
  switch (node->op) {
  case SymOp::Constant:
    return node->value == INT64_MIN ? 1 : std::abs(node->value);
  case SymOp::Sum: {
    int64_t divisor = node->value == INT64_MIN ? 1 : std::abs(node->value);
    for (size_t i = 0; i < node->operands.size(); ++i) {
      int64_t part;
      if (__builtin_mul_overflow(node->factors[i], knownDivisor(node->operands[i]), &part) || part == INT64_MIN)
        part = node->factors[i];
      divisor = std::gcd(divisor, part);
    }
    return divisor;
  }
  case SymOp::Product: {
    int64_t divisor = 1;
    for (const SymNode *operand : node->operands)
      if (int64_t part; !__builtin_mul_overflow(divisor, knownDivisor(operand), &part))
        divisor = part;
    return divisor;
  }
  case SymOp::Mod:
  case SymOp::Min:
  case SymOp::Max:
  case SymOp::Broadcast:
    return std::gcd(knownDivisor(node->operands[0]), knownDivisor(node->operands[1]));
  case SymOp::Symbol:
  case SymOp::FloorDiv:
  case SymOp::CeilDiv:
    return 1;
  }
  return 1;
}

bool SymContext::provenMultipleOf(SymExpr a, int64_t factor) const {
  return a.known() && factor != 0 && knownDivisor(a.node()) % factor == 0;
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

using Assignment = std::map<std::string, int64_t, std::less<>>;

static std::optional<int64_t> evaluateNode(const SymNode *node, const Assignment &symbols);

static std::optional<int64_t> evaluateSumOrProduct(const SymNode *node, const Assignment &symbols) {
  bool sum = node->op == SymOp::Sum;
  std::optional<int64_t> result = sum ? node->value : 1;
  for (size_t i = 0; i < node->operands.size(); ++i) {
    std::optional<int64_t> operand = evaluateNode(node->operands[i], symbols);
    result = sum ? plus(result, times(operand, node->factors[i])) : times(result, operand);
  }
  return result;
}

static std::optional<int64_t> evaluateNode(const SymNode *node, const Assignment &symbols) {
  if (node->op == SymOp::Constant)
    return node->value;
  if (node->op == SymOp::Symbol) {
    auto it = symbols.find(node->name);
    return it == symbols.end() ? std::nullopt : std::optional(it->second);
  }
  if (node->op == SymOp::Sum || node->op == SymOp::Product)
    return evaluateSumOrProduct(node, symbols);
  std::optional<int64_t> a = evaluateNode(node->operands[0], symbols), b = evaluateNode(node->operands[1], symbols);
  if (!a || !b)
    return std::nullopt;
  bool divides = *b != 0 && !(*a == INT64_MIN && *b == -1); // otherwise 0, as in the plan
  switch (node->op) {
  case SymOp::FloorDiv:
    return divides ? floorDivide(*a, *b) : 0;
  case SymOp::CeilDiv:
    return divides ? ceilDivide(*a, *b) : 0;
  case SymOp::Mod:
    return divides ? *a - floorDivide(*a, *b) * *b : 0;
  case SymOp::Min:
    return std::min(*a, *b);
  case SymOp::Max:
    return std::max(*a, *b);
  case SymOp::Broadcast:
    return *a == 1 ? *b : *a;
  default:
    return std::nullopt;
  }
}

std::optional<int64_t> SymContext::evaluate(SymExpr expr, const Assignment &symbols) const {
  return expr.known() ? evaluateNode(expr.node(), symbols) : std::nullopt;
}
