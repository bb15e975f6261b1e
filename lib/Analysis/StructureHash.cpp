//===- StructureHash.cpp - are two functions the same graph ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/StructureHash.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Hash.h"

#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace llmopt;

using Node = SymExpr::Node;

namespace {

uint64_t combine(std::initializer_list<uint64_t> parts) { return hashBytes(std::as_bytes(std::span(parts.begin(), parts.size()))); }
uint64_t combine(const SmallVectorImpl<uint64_t> &parts) { return hashBytes(std::as_bytes(std::span(parts.data(), parts.size()))); }

class Hasher {
public:
  explicit Hasher(FunctionOpInterface function) : shapes_(symbols_) {
    shapes_.run(function);
    for (Value argument : function.getArguments())
      number(argument);
    for (Value argument : function.getArguments())
      values_[argument] = combine({1, values_.size(), hashType(argument)});
  }

  uint64_t run(FunctionOpInterface function) {
    SmallVector<uint64_t> parts{0};
    for (Operation &op : function.getFunctionBody().front()) {
      visit(&op);
      // Results are what counts; effects count in their order.
      if (op.hasTrait<OpTrait::IsTerminator>() || !isMemoryEffectFree(&op))
        parts.push_back(hashOperation(&op));
    }
    return combine(parts);
  }

private:
  /// Symbols are numbered as they appear, first those that are a dimension by themselves.
  void number(Value argument) {
    for (SymExpr dim : shapes_.shapeOf(argument).dims)
      if (dim.known() && dim.node()->op == Node::Op::Symbol)
        symbolNumbers_.try_emplace(dim.node(), symbolNumbers_.size() + 1);
  }

  uint64_t hashExpr(const Node *node) {
    if (!node)
      return 0;
    if (node->op == Node::Op::Symbol)
      return combine({2, symbolNumbers_.try_emplace(node, symbolNumbers_.size() + 1).first->second});
    SmallVector<uint64_t> operands;
    for (auto [i, operand] : llvm::enumerate(node->operands))
      operands.push_back(combine({hashExpr(operand), i < node->factors.size() ? uint64_t(node->factors[i]) : 1}));
    // The order of terms and factors follows names.
    if (node->op == Node::Op::Sum || node->op == Node::Op::Product)
      llvm::sort(operands);
    return combine({3, uint64_t(node->op), uint64_t(node->value), combine(operands)});
  }

  uint64_t hashType(Value value) {
    SmallVector<uint64_t> parts{uint64_t(4), hashAttribute(TypeAttr::get(getElementTypeOrSelf(value.getType())))};
    for (SymExpr dim : shapes_.shapeOf(value).dims)
      parts.push_back(hashExpr(dim.node()));
    return combine(parts);
  }

  static uint64_t hashAttribute(Attribute attribute) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    // A number that was computed in another order differs in its last digits.
    if (auto number = dyn_cast<FloatAttr>(attribute))
      stream << llvm::format("%.5g", number.getValueAsDouble());
    else
      stream << attribute;
    return hashString(text);
  }

  uint64_t hashOperation(Operation *op) {
    SmallVector<uint64_t> operands;
    for (Value operand : op->getOperands())
      operands.push_back(values_.lookup(operand));
    // Files store matrices in one order or the other; a kernel reads neither of them.
    auto linear = dyn_cast<llm::LinearOp>(op);
    if (linear)
      operands[1] = combine({8, uint64_t(isWeight(linear.getWeight())), hashAttribute(TypeAttr::get(getElementTypeOrSelf(linear.getWeight().getType())))});
    if (op->hasTrait<OpTrait::IsCommutative>())
      llvm::sort(operands);
    SmallVector<uint64_t> parts{5, hashString(op->getName().getStringRef()), combine(operands)};
    // In the order of names, as dictionaries are. How many optional operands there are is among them.
    for (NamedAttribute attribute : op->getAttrDictionary())
      if (!linear || attribute.getName() != linear.getTransposedAttrName())
        parts.push_back(combine({hashString(attribute.getName().getValue()), hashAttribute(attribute.getValue())}));
    return combine(parts);
  }

  /// Matrices and vectors of floats that are known when compiling; numbers and sizes count as what they are.
  bool isWeight(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && isa<FloatType>(type.getElementType()) && !(type.hasStaticShape() && type.getNumElements() == 1) &&
           llm::isWeightExpression(value);
  }

  void visit(Operation *op) {
    uint64_t own = hashOperation(op);
    for (OpResult result : op->getResults())
      values_[result] = isWeight(result) ? combine({6, hashType(result)}) : combine({7, own, result.getResultNumber(), hashType(result)});
  }

  SymContext symbols_;
  ShapeAnalysis shapes_;
  llvm::DenseMap<const Node *, uint64_t> symbolNumbers_;
  llvm::DenseMap<Value, uint64_t> values_;
};

} // namespace

uint64_t llmopt::structureHash(FunctionOpInterface function) { return Hasher(function).run(function); }
