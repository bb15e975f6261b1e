//===- SymExpr.cpp - symbolic integers in one normal form -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "SymExprImpl.h"

#include <numeric>

using namespace llmopt;

//===----------------------------------------------------------------------===//
// Interning
//===----------------------------------------------------------------------===//

static size_t hashNode(const SymNode &node) {
  size_t hash = size_t(node.op) * 0x9e3779b97f4a7c15u + std::hash<int64_t>()(node.value);
  auto mix = [&](size_t value) { hash = (hash ^ value) * 0x100000001b3u + (hash >> 29); };
  mix(std::hash<std::string>()(node.name));
  for (const SymNode *operand : node.operands)
    mix(reinterpret_cast<uintptr_t>(operand));
  for (int64_t factor : node.factors)
    mix(size_t(factor));
  return hash;
}

const SymNode *SymContext::Impl::intern(SymNode node) {
  auto &bucket = table[hashNode(node)];
  for (const auto &old : bucket)
    if (old->op == node.op && old->value == node.value && old->name == node.name && old->operands == node.operands &&
        old->factors == node.factors)
      return old.get();
  bucket.push_back(std::make_unique<SymNode>(std::move(node)));
  return bucket.back().get();
}

SymExpr SymContext::Impl::make(const std::optional<Polynomial> &polynomial) {
  if (!polynomial)
    return {};
  if (polynomial->isConstant())
    return SymExpr(intern({.op = SymOp::Constant, .value = polynomial->constant}));
  auto term = [&](const Monomial &monomial) {
    return monomial.size() == 1 ? monomial.front() : intern({.op = SymOp::Product, .operands = monomial});
  };
  const auto &[leading, leadingFactor] = *polynomial->terms.rbegin();
  if (polynomial->constant == 0 && polynomial->terms.size() == 1 && leadingFactor == 1)
    return SymExpr(term(leading));
  SymNode sum{.op = SymOp::Sum, .value = polynomial->constant};
  for (auto it = polynomial->terms.rbegin(); it != polynomial->terms.rend(); ++it) {
    sum.operands.push_back(term(it->first));
    sum.factors.push_back(it->second);
  }
  return SymExpr(intern(std::move(sum)));
}

SymExpr SymContext::Impl::binary(SymOp op, SymExpr a, SymExpr b) {
  bool commutes = op == SymOp::Min || op == SymOp::Max || op == SymOp::Broadcast;
  if (commutes && compareNodes(a.node(), b.node()) > 0)
    std::swap(a, b);
  return SymExpr(intern({.op = op, .operands = {a.node(), b.node()}}));
}

SymContext::SymContext() : impl_(std::make_unique<Impl>()) {}
SymContext::~SymContext() = default;

std::optional<int64_t> SymExpr::constant() const {
  return node_ && node_->op == SymOp::Constant ? std::optional(node_->value) : std::nullopt;
}

SymExpr SymContext::constant(int64_t value) { return SymExpr(impl_->intern({.op = SymOp::Constant, .value = value})); }

SymExpr SymContext::symbol(std::string_view name) {
  return SymExpr(impl_->intern({.op = SymOp::Symbol, .name = std::string(name)}));
}

void SymContext::assumeAtLeast(std::string_view symbol, int64_t minimum) {
  int64_t &known = impl_->minimums.try_emplace(std::string(symbol), 0).first->second;
  known = std::max(known, minimum);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

SymExpr SymContext::add(SymExpr a, SymExpr b) {
  return a.known() && b.known() ? impl_->make(addScaled(toPolynomial(a.node()), toPolynomial(b.node()), 1)) : SymExpr();
}

SymExpr SymContext::sub(SymExpr a, SymExpr b) {
  return a.known() && b.known() ? impl_->make(addScaled(toPolynomial(a.node()), toPolynomial(b.node()), -1)) : SymExpr();
}

SymExpr SymContext::mul(SymExpr a, SymExpr b) {
  // Nothing times an unknown number is nothing.
  if (a.isConstant(0) || b.isConstant(0))
    return constant(0);
  return a.known() && b.known() ? impl_->make(multiply(toPolynomial(a.node()), toPolynomial(b.node()))) : SymExpr();
}

/// a = whole * c + rest for a constant c > 0, the constant of `rest` in [0, c).
static std::pair<Polynomial, Polynomial> splitByConstant(const Polynomial &a, int64_t c) {
  Polynomial whole, rest;
  whole.constant = floorDivide(a.constant, c);
  rest.constant = a.constant - whole.constant * c;
  for (const auto &[monomial, factor] : a.terms) {
    if (factor % c == 0)
      whole.terms.emplace(monomial, factor / c);
    else
      rest.terms.emplace(monomial, factor);
  }
  return {whole, rest};
}

static int64_t commonFactor(const Polynomial &polynomial, int64_t start) {
  for (const auto &[monomial, factor] : polynomial.terms)
    start = std::gcd(start, factor);
  return start;
}

static Polynomial scaledDown(Polynomial polynomial, int64_t divisor, int64_t constant) {
  for (auto &[monomial, factor] : polynomial.terms)
    factor /= divisor;
  polynomial.constant = constant;
  return polynomial;
}

SymExpr SymContext::divide(SymExpr a, SymExpr b, bool up) {
  if (!a.known() || !b.known() || b.isConstant(0))
    return {};
  SymOp op = up ? SymOp::CeilDiv : SymOp::FloorDiv;
  Polynomial numerator = toPolynomial(a.node()), denominator = toPolynomial(b.node());
  if (std::optional<Polynomial> exact = divideExactly(numerator, denominator))
    return impl_->make(exact);
  if (!denominator.isConstant())
    return impl_->binary(op, a, b);
  int64_t divisor = denominator.constant;
  if (divisor < 0) {
    std::optional<Polynomial> negated = addScaled({}, numerator, -1);
    return divisor == INT64_MIN ? SymExpr() : divide(impl_->make(negated), constant(-divisor), up);
  }
  // floor((c q + r) / c) = q + floor(r / c), and likewise for ceil.
  auto [whole, rest] = splitByConstant(numerator, divisor);
  Bounds range = impl_->bounds(rest);
  if (range.low && range.high && *range.low > (up ? -divisor : -1) && *range.high < (up ? 1 : divisor))
    return impl_->make(whole);
  if (up && range.low && range.high && *range.low > 0 && *range.high <= divisor)
    return add(impl_->make(whole), constant(1));
  // floor((g t + k) / (g d)) = floor((t + floor(k / g)) / d).
  int64_t common = commonFactor(rest, divisor);
  int64_t shifted = up ? ceilDivide(rest.constant, common) : floorDivide(rest.constant, common);
  SymExpr top = impl_->make(scaledDown(rest, common, shifted));
  int64_t bottom = divisor / common;
  if (bottom == 1)
    return add(impl_->make(whole), top);
  // floor(floor(x / m) / n) = floor(x / (m n)).
  int64_t nested;
  if (top.node()->op == op && SymExpr(top.node()->operands[1]).constant().value_or(0) > 0 &&
      !__builtin_mul_overflow(top.node()->operands[1]->value, bottom, &nested))
    return add(impl_->make(whole), divide(SymExpr(top.node()->operands[0]), constant(nested), up));
  return add(impl_->make(whole), impl_->binary(op, top, constant(bottom)));
}

SymExpr SymContext::floorDiv(SymExpr a, SymExpr b) { return divide(a, b, /*up=*/false); }
SymExpr SymContext::ceilDiv(SymExpr a, SymExpr b) { return divide(a, b, /*up=*/true); }

SymExpr SymContext::mod(SymExpr a, SymExpr b) {
  if (!a.known() || !b.known() || b.isConstant(0))
    return {};
  Polynomial numerator = toPolynomial(a.node()), denominator = toPolynomial(b.node());
  if (divideExactly(numerator, denominator))
    return constant(0);
  if (!denominator.isConstant())
    return impl_->binary(SymOp::Mod, a, b);
  int64_t divisor = denominator.constant;
  if (divisor < 0) // Only constants have been met here; the sign follows the divisor.
    return numerator.isConstant() && divisor != INT64_MIN
               ? sub(a, mul(b, constant(floorDivide(numerator.constant, divisor))))
               : impl_->binary(SymOp::Mod, a, b);
  Polynomial rest = splitByConstant(numerator, divisor).second;
  Bounds range = impl_->bounds(rest);
  if (range.low && range.high && *range.low >= 0 && *range.high < divisor)
    return impl_->make(rest);
  // (g t) mod (g d) = g (t mod d).
  int64_t common = commonFactor(rest, std::gcd(divisor, rest.constant));
  SymExpr small = impl_->binary(SymOp::Mod, impl_->make(scaledDown(rest, common, rest.constant / common)),
                                constant(divisor / common));
  return mul(constant(common), small);
}

/// max(a, b) holds one of `node`'s operands already.
static bool hasOperand(SymExpr expr, SymOp op, SymExpr operand) {
  return expr.node()->op == op && (expr.node()->operands[0] == operand.node() || expr.node()->operands[1] == operand.node());
}

SymExpr SymContext::min(SymExpr a, SymExpr b) {
  if (!a.known() || !b.known())
    return {};
  if (provenLessEqual(a, b) || hasOperand(a, SymOp::Min, b))
    return a;
  if (provenLessEqual(b, a) || hasOperand(b, SymOp::Min, a))
    return b;
  return impl_->binary(SymOp::Min, a, b);
}

SymExpr SymContext::max(SymExpr a, SymExpr b) {
  if (!a.known() || !b.known())
    return {};
  if (provenLessEqual(b, a) || hasOperand(a, SymOp::Max, b))
    return a;
  if (provenLessEqual(a, b) || hasOperand(b, SymOp::Max, a))
    return b;
  return impl_->binary(SymOp::Max, a, b);
}

SymExpr SymContext::broadcast(SymExpr a, SymExpr b) {
  // A dimension known not to be 1 decides, even beside an unknown one.
  for (auto [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    if (one.isConstant(1))
      return other;
    if (one.constant())
      return one;
  }
  if (!a.known() || !b.known())
    return {};
  auto atLeastTwo = [&](SymExpr expr) { return impl_->bounds(expr.node()).low.value_or(0) >= 2; };
  if (a == b || atLeastTwo(a) || hasOperand(a, SymOp::Broadcast, b))
    return a;
  if (atLeastTwo(b) || hasOperand(b, SymOp::Broadcast, a))
    return b;
  return impl_->binary(SymOp::Broadcast, a, b);
}
