//===- RenameSymbols.cpp - a kernel for sizes of other names ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/RenameSymbols.h"

#include "llvm/ADT/STLExtras.h"

using namespace llmopt;

static void collect(const SymExpr::Node *node, std::vector<std::string> &names) {
  if (node->op == SymExpr::Node::Op::Symbol && !llvm::is_contained(names, node->name))
    names.push_back(node->name);
  for (const SymExpr::Node *operand : node->operands)
    collect(operand, names);
}

std::vector<std::string> llmopt::symbolsOf(llvm::ArrayRef<const ValueShape *> shapes) {
  std::vector<std::string> names;
  for (const ValueShape *shape : shapes) {
    for (SymExpr dim : shape->dims)
      if (dim.known())
        collect(dim.node(), names);
    if (shape->elements)
      for (SymExpr element : *shape->elements)
        if (element.known())
          collect(element.node(), names);
  }
  return names;
}

static SymExpr renamed(SymContext &symbols, const SymExpr::Node *node, const SymbolNames &names) {
  using Op = SymExpr::Node::Op;
  auto operand = [&](size_t i) { return renamed(symbols, node->operands[i], names); };
  switch (node->op) {
  case Op::Constant: return symbols.constant(node->value);
  case Op::Symbol: {
    auto it = names.find(node->name);
    return symbols.symbol(it == names.end() ? node->name : it->second);
  }
  case Op::Sum: {
    SymExpr sum = symbols.constant(node->value);
    for (size_t i = 0; i < node->operands.size(); ++i)
      sum = symbols.add(sum, symbols.mul(symbols.constant(node->factors[i]), operand(i)));
    return sum;
  }
  case Op::Product: {
    SymExpr product = operand(0);
    for (size_t i = 1; i < node->operands.size(); ++i)
      product = symbols.mul(product, operand(i));
    return product;
  }
  case Op::FloorDiv: return symbols.floorDiv(operand(0), operand(1));
  case Op::CeilDiv: return symbols.ceilDiv(operand(0), operand(1));
  case Op::Mod: return symbols.mod(operand(0), operand(1));
  case Op::Min: return symbols.min(operand(0), operand(1));
  case Op::Max: return symbols.max(operand(0), operand(1));
  case Op::Broadcast: return symbols.broadcast(operand(0), operand(1));
  }
  return {};
}

SymExpr llmopt::renameSymbols(SymContext &symbols, SymExpr expr, const SymbolNames &names) {
  return expr.known() ? renamed(symbols, expr.node(), names) : expr;
}

LoweredKernel llmopt::renameSymbols(SymContext &symbols, LoweredKernel kernel, const SymbolNames &names) {
  auto rename = [&](SymExpr &expr) { expr = renameSymbols(symbols, expr, names); };
  for (std::vector<KernelVariant> *variants : {&kernel.variants, &kernel.second})
    for (KernelVariant &variant : *variants) {
      rename(variant.units);
      rename(variant.scratchBytes);
    }
  for (SymExpr &dim : kernel.dims)
    rename(dim);
  for (auto &[output, bytes] : kernel.outputBytes)
    rename(bytes);
  for (SymExpr *expr : {&kernel.selector, &kernel.flops, &kernel.bytesMoved})
    rename(*expr);
  return kernel;
}
