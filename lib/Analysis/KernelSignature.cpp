//===- KernelSignature.cpp - what a kernel computes, in words ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/KernelSignature.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace llmopt;

/// Flags change what is computed ("causal", "transposed"); numbers do not change how fast.
static std::string describeOp(Operation &op) {
  std::string text = op.getName().stripDialect().str();
  for (NamedAttribute attribute : op.getAttrDictionary())
    if (isa<UnitAttr>(attribute.getValue()))
      text += "." + attribute.getName().str();
  return text;
}

static void append(std::string &list, const std::string &word) { list += (list.empty() ? "" : " ") + word; }

KernelSignature llmopt::signatureOf(Operation *op, ShapeAnalysis &shapes) {
  KernelSignature signature;
  if (auto kernel = dyn_cast<exec::KernelOp>(op)) {
    for (Operation &inner : kernel.getBody().front().without_terminator())
      if (!isa<llm::ConstantOp>(inner))
        append(signature.ops, describeOp(inner));
  } else {
    append(signature.ops, describeOp(*op));
  }
  std::map<const SymExpr::Node *, size_t> numbers;
  for (Value operand : op->getOperands()) {
    std::string dims;
    for (SymExpr dim : shapes.shapeOf(operand).dims) {
      std::string text = !dim.known()      ? "?"
                         : dim.constant() ? std::to_string(*dim.constant())
                                          : "s" + std::to_string(numbers.try_emplace(dim.node(), numbers.size()).first->second);
      dims += (dims.empty() ? "" : ", ") + text;
    }
    append(signature.shape, "[" + dims + "]");
    std::optional<DType> type = llm::dtypeOf(getElementTypeOrSelf(operand.getType()));
    append(signature.dtype, type ? std::string(dtypeName(*type)) : "?");
  }
  return signature;
}

int64_t llmopt::typicalSize(std::string_view symbol) {
  auto names = [&](const char *part) { return symbol.find(part) != symbol.npos; };
  return names("batch") || names("row") || names("sequences") ? 1 : names("past") ? 0 : 128;
}

static void addSymbols(const SymExpr::Node *node, std::map<std::string, int64_t, std::less<>> &values) {
  if (node->op == SymExpr::Node::Op::Symbol)
    values.try_emplace(node->name, typicalSize(node->name));
  for (const SymExpr::Node *operand : node->operands)
    addSymbols(operand, values);
}

std::optional<int64_t> llmopt::typicalSize(SymExpr expression, SymContext &symbols) {
  if (!expression.known())
    return std::nullopt;
  std::map<std::string, int64_t, std::less<>> values;
  addSymbols(expression.node(), values);
  return symbols.evaluate(expression, values);
}
