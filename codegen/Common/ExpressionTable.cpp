//===- ExpressionTable.cpp - symbolic expressions as plan data ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/ExpressionTable.h"

#include <algorithm>

using namespace llmopt;
using plan::ExprId;

ExprId ExpressionTable::push(const plan::Expr &expr) {
  auto key = std::make_tuple(int(expr.op), expr.value, expr.lhs, expr.rhs);
  auto [it, isNew] = rows_.emplace(key, ExprId(entry_.expressions.size()));
  if (isNew)
    entry_.expressions.push_back(expr);
  return it->second;
}

ExprId ExpressionTable::constant(int64_t value) { return push({.op = plan::Expr::Op::Constant, .value = value}); }

ExprId ExpressionTable::binary(plan::Expr::Op op, ExprId lhs, ExprId rhs) {
  return push({.op = op, .value = 0, .lhs = lhs, .rhs = rhs});
}

ExprId ExpressionTable::add(SymExpr expr) { return expr.known() ? add(expr.node()) : constant(0); }

ExprId ExpressionTable::add(const SymExpr::Node *node) {
  if (auto it = known_.find(node); it != known_.end())
    return it->second;
  using From = SymExpr::Node::Op;
  using To = plan::Expr::Op;
  auto two = [&](To op) { return binary(op, add(node->operands[0]), add(node->operands[1])); };
  ExprId id = 0;
  switch (node->op) {
  case From::Constant:
    id = constant(node->value);
    break;
  case From::Symbol: {
    auto it = std::find(entry_.symbols.begin(), entry_.symbols.end(), node->name);
    if (it == entry_.symbols.end()) {
      unknownSymbols_.push_back(node->name);
      id = constant(0);
    } else {
      id = push({.op = To::Symbol, .value = it - entry_.symbols.begin()});
    }
    break;
  }
  case From::Sum:
    for (size_t i = 0; i < node->operands.size(); ++i) {
      ExprId term = add(node->operands[i]);
      if (node->factors[i] != 1)
        term = binary(To::Mul, term, constant(node->factors[i]));
      id = i == 0 ? term : binary(To::Add, id, term);
    }
    if (node->value != 0 || node->operands.empty())
      id = node->operands.empty() ? constant(node->value) : binary(To::Add, id, constant(node->value));
    break;
  case From::Product:
    id = add(node->operands[0]);
    for (size_t i = 1; i < node->operands.size(); ++i)
      id = binary(To::Mul, id, add(node->operands[i]));
    break;
  case From::FloorDiv: id = two(To::FloorDiv); break;
  case From::CeilDiv: id = two(To::CeilDiv); break;
  case From::Mod: id = two(To::Mod); break;
  case From::Min: id = two(To::Min); break;
  case From::Max: id = two(To::Max); break;
  case From::Broadcast: id = two(To::Broadcast); break;
  }
  known_.emplace(node, id);
  return id;
}
