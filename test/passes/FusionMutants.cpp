//===- FusionMutants.cpp - graphs that nearly satisfy a pattern ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "FusionMutants.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace llmopt;

namespace {

/// Changes one operation of a copy; false if there is nothing to change.
using Change = llvm::function_ref<bool(Operation *, OpBuilder &)>;

class Mutator {
public:
  explicit Mutator(func::FuncOp function) : function_(function) {
    for (Operation &op : function.front().without_terminator())
      ++operations_, (void)op;
  }

  void apply(const std::string &what, Change change) {
    for (size_t i = 0; i < operations_; ++i) {
      OwningOpRef<ModuleOp> module(ModuleOp::create(function_.getLoc()));
      auto copy = cast<func::FuncOp>(function_->clone());
      module->push_back(copy);
      Operation *op = &*std::next(copy.front().begin(), long(i));
      OpBuilder builder(op);
      std::string name = what + " at " + std::to_string(i) + " (" + op->getName().getStringRef().str() + ")";
      ScopedDiagnosticHandler quiet(function_.getContext(), [](Diagnostic &) { return success(); });
      if (change(op, builder) && succeeded(verify(*module)))
        mutants_.push_back({name, std::move(module)});
    }
  }
  std::vector<Mutant> take() { return std::move(mutants_); }

private:
  func::FuncOp function_;
  size_t operations_ = 0;
  std::vector<Mutant> mutants_;
};

bool isLeaf(Operation *op) { return isa<llm::ConstantOp, llm::WeightOp>(op); }

/// The value is a result of the function as well.
bool readOnceMore(Operation *op, OpBuilder &) {
  auto function = op->getParentOfType<func::FuncOp>();
  Operation *end = function.front().getTerminator();
  if (isLeaf(op) || llvm::is_contained(end->getOperands(), op->getResult(0)))
    return false;
  end->insertOperands(end->getNumOperands(), op->getResult(0));
  function.setFunctionType(FunctionType::get(op->getContext(), function.getArgumentTypes(), end->getOperandTypes()));
  return true;
}

bool otherConstant(Operation *op, OpBuilder &builder) {
  auto constant = dyn_cast<llm::ConstantOp>(op);
  auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : nullptr;
  if (!elements || !elements.isSplat())
    return false;
  double value = elements.getSplatValue<APFloat>().convertToDouble();
  Attribute changed = builder.getFloatAttr(elements.getElementType(), value * 1.25 + 0.125);
  op->replaceAllUsesWith(llm::ConstantOp::create(builder, op->getLoc(), DenseElementsAttr::get(elements.getType(), changed)));
  return true;
}

bool swappedOperands(Operation *op, OpBuilder &) {
  if (op->getNumOperands() < 2)
    return false;
  Value first = op->getOperand(0), second = op->getOperand(1);
  op->setOperand(0, second);
  op->setOperand(1, first);
  return first != second;
}

/// The first operand is another value of the same type.
bool otherOperand(Operation *op, OpBuilder &) {
  if (op->getNumOperands() == 0)
    return false;
  auto function = op->getParentOfType<func::FuncOp>();
  SmallVector<Value> others(function.getArguments().begin(), function.getArguments().end());
  for (Operation *before = op->getPrevNode(); before; before = before->getPrevNode())
    llvm::append_range(others, before->getResults());
  for (OpOperand &operand : op->getOpOperands())
    for (Value other : others)
      if (other != operand.get() && other.getType() == operand.get().getType()) {
        operand.set(other);
        return true;
      }
  return false;
}

bool detourOverHalf(Operation *op, OpBuilder &builder) {
  auto type = isLeaf(op) ? RankedTensorType() : dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.getElementType().isF32())
    return false;
  builder.setInsertionPointAfter(op);
  auto half = llm::CastOp::create(builder, op->getLoc(), type.clone(builder.getF16Type()), op->getResult(0));
  auto back = llm::CastOp::create(builder, op->getLoc(), type, half);
  op->getResult(0).replaceAllUsesExcept(back, half);
  return true;
}

/// add <-> sub, tanh <-> erf <-> sigmoid, sum <-> mean ...
bool otherOperation(Operation *op, OpBuilder &builder) {
  if (auto reduce = dyn_cast<llm::ReduceOp>(op)) {
    reduce.setKind(reduce.getKind() == llm::ReduceKind::mean ? llm::ReduceKind::sum : llm::ReduceKind::mean);
    return true;
  }
  static const std::pair<StringRef, StringRef> kOthers[] = {{"llm.add", "llm.sub"},      {"llm.sub", "llm.add"},   {"llm.mul", "llm.div"},
                                                            {"llm.div", "llm.mul"},      {"llm.tanh", "llm.erf"},  {"llm.erf", "llm.tanh"},
                                                            {"llm.sigmoid", "llm.tanh"}, {"llm.sqrt", "llm.rsqrt"}, {"llm.rsqrt", "llm.sqrt"}};
  for (auto [from, to] : kOthers)
    if (op->getName().getStringRef() == from) {
      OperationState state(op->getLoc(), to, op->getOperands(), op->getResultTypes(), {});
      op->replaceAllUsesWith(builder.create(state));
      return true;
    }
  return false;
}

/// For reductions and softmax over square shapes; a permutation with two entries exchanged.
bool otherAxis(Operation *op, OpBuilder &builder) {
  if (auto reduce = dyn_cast<llm::ReduceOp>(op)) {
    if (reduce.getAxes().size() != 1 || reduce.getAxes()[0] == 0)
      return false;
    reduce.setAxes({reduce.getAxes()[0] - 1});
    return true;
  }
  if (auto softmax = dyn_cast<llm::SoftmaxOp>(op)) {
    softmax.setAxis(softmax.getAxis() ? softmax.getAxis() - 1 : 1);
    return true;
  }
  if (auto transpose = dyn_cast<llm::TransposeOp>(op)) {
    SmallVector<int64_t> permutation(transpose.getPermutation());
    std::swap(permutation.front(), permutation.back());
    transpose.setPermutation(permutation);
    return true;
  }
  return false;
}

} // namespace

std::vector<Mutant> llmopt::mutantsOf(func::FuncOp function) {
  Mutator mutator(function);
  mutator.apply("read once more", readOnceMore);
  mutator.apply("other constant", otherConstant);
  mutator.apply("swapped operands", swappedOperands);
  mutator.apply("other operand", otherOperand);
  mutator.apply("detour over f16", detourOverHalf);
  mutator.apply("other operation", otherOperation);
  mutator.apply("other axis", otherAxis);
  return mutator.take();
}
