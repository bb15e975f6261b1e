//===- Interpreter.cpp - executes the llm dialect, slowly -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include "llmopt/dialects/Exec/Exec.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SetVector.h"

using namespace llmopt;
using namespace llmopt::interpreter;

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

std::string interpreter::describe(mlir::Operation *op) {
  std::string text;
  llvm::raw_string_ostream(text) << op->getName() << " at " << op->getLoc();
  return text;
}

Status interpreter::shapeError(mlir::Operation *op, const std::string &what) { return badInput("E0704", what, describe(op)); }

Status Frame::out(mlir::Value value, Result<Array> result) {
  if (!result)
    return result.status();
  Array array = result.take();
  auto type = mlir::cast<mlir::RankedTensorType>(value.getType());
  bool fits = array.rank() == type.getRank() && array.isFloat() == llmopt::isFloat(dtypeOf(value));
  for (int64_t i = 0; fits && i < array.rank(); ++i)
    fits = type.isDynamicDim(unsigned(i)) || type.getDimSize(unsigned(i)) == array.shape[size_t(i)];
  if (!fits) {
    std::string declared;
    llvm::raw_string_ostream(declared) << type;
    return shapeError(value.getDefiningOp(), "the result is " + array.typeName() + ", its declared type " + declared);
  }
  array.dtype = dtypeOf(value);
  settle(array);
  bind(value, std::make_shared<const Array>(std::move(array)));
  return {};
}

//===----------------------------------------------------------------------===//
// Interpreter
//===----------------------------------------------------------------------===//

struct Interpreter::Impl {
  mlir::ModuleOp module;
  const WeightStore &weights;
  StepMemory memory;
  std::map<std::string, ArrayPtr, std::less<>> weightCache;

  Status runOp(mlir::Operation *op, Frame &frame);
  Status runKernel(exec::KernelOp kernel, Frame &frame);
  Status runBlock(mlir::Block &block, Frame &frame);
};

Interpreter::Interpreter(mlir::ModuleOp module, const WeightStore &weights)
    : impl_(std::make_unique<Impl>(Impl{module, weights, {}, {}})) {}
Interpreter::~Interpreter() = default;

void Interpreter::reset() { impl_->memory = {}; }

Status Interpreter::Impl::runOp(mlir::Operation *op, Frame &frame) {
  if (auto kernel = mlir::dyn_cast<exec::KernelOp>(op))
    return runKernel(kernel, frame);
  for (mlir::Value operand : op->getOperands())
    if (!frame.share(operand))
      return internalError("E0703", "an operand has no value", describe(op));
  for (auto *run : {runElementwise, runShapeOps, runIndexing, runReductions, runContractions, runAttention})
    if (std::optional<Status> status = run(op, frame))
      return std::move(*status);
  return unsupported("E0703", "the interpreter does not know this operation", describe(op));
}

Status Interpreter::Impl::runKernel(exec::KernelOp kernel, Frame &frame) {
  mlir::Block &body = kernel.getBody().front();
  for (auto [argument, input] : llvm::zip(body.getArguments(), kernel.getInputs()))
    frame.bind(argument, frame.share(input));
  LLMOPT_RETURN_IF_ERROR(runBlock(body, frame));
  mlir::OperandRange yielded = body.getTerminator()->getOperands();
  for (auto [result, value] : llvm::zip(kernel.getOutputs(), yielded))
    frame.bind(result, frame.share(value));
  for (mlir::Value value : yielded)
    frame.drop(value);
  for (mlir::Value argument : body.getArguments())
    frame.drop(argument);
  return {};
}

/// Runs all but the terminator; values are let go after their last use, so that deep models fit.
Status Interpreter::Impl::runBlock(mlir::Block &block, Frame &frame) {
  llvm::DenseMap<mlir::Value, int64_t> uses;
  for (mlir::Operation &op : block)
    for (mlir::Value operand : op.getOperands())
      ++uses[operand];
  for (mlir::Operation &op : block.without_terminator()) {
    LLMOPT_RETURN_IF_ERROR(runOp(&op, frame));
    for (mlir::Value operand : op.getOperands())
      if (--uses[operand] == 0)
        frame.drop(operand);
  }
  return {};
}

/// E0702 where the caller's tensor is not what the argument's type says.
static Status checkInput(const Tensor &tensor, mlir::BlockArgument argument) {
  auto type = mlir::dyn_cast<mlir::RankedTensorType>(argument.getType());
  bool fits = type && int64_t(tensor.shape().size()) == type.getRank() &&
              tensor.dtype() == llm::dtypeOf(type.getElementType());
  for (size_t i = 0; fits && i < tensor.shape().size(); ++i)
    fits = type.isDynamicDim(unsigned(i)) || type.getDimSize(unsigned(i)) == tensor.shape()[i];
  if (fits)
    return {};
  std::string declared;
  llvm::raw_string_ostream(declared) << argument.getType();
  return badInput("E0702", "input " + std::to_string(argument.getArgNumber()) + " is " + tensor.typeName() + ", the function wants " + declared);
}

/// The groups whose states a function appends to.
static std::set<uint32_t> growingGroups(mlir::Operation *function) {
  std::set<uint32_t> groups;
  function->walk([&](llm::CacheAppendOp op) { groups.insert(uint32_t(op.getGroup())); });
  return groups;
}

Result<std::vector<Tensor>> Interpreter::run(llvm::StringRef name, std::vector<Tensor> inputs, std::vector<InterpreterSequence> step) {
  auto function = impl_->module.lookupSymbol<mlir::func::FuncOp>(name);
  if (!function || !llvm::hasSingleElement(function.getBody()))
    return badInput("E0701", "the module has no function '" + name.str() + "' with one block");
  if (inputs.size() != function.getNumArguments())
    return badInput("E0702", "'" + name.str() + "' takes " + std::to_string(function.getNumArguments()) + " inputs, " +
                                 std::to_string(inputs.size()) + " were given");
  impl_->memory.step = std::move(step);
  impl_->memory.growing = growingGroups(function);
  Frame frame(impl_->memory, impl_->weights, &impl_->weightCache);
  for (auto [tensor, argument] : llvm::zip(inputs, function.getArguments())) {
    LLMOPT_RETURN_IF_ERROR(checkInput(tensor, argument));
    frame.bind(argument, std::make_shared<const Array>(fromTensor(tensor)));
    tensor = Tensor();
  }
  mlir::Block &body = function.getBody().front();
  LLMOPT_RETURN_IF_ERROR(impl_->runBlock(body, frame));
  std::vector<Tensor> results;
  for (mlir::Value value : body.getTerminator()->getOperands())
    results.push_back(toTensor(frame.in(value)));
  for (uint32_t group : impl_->memory.growing)
    for (const InterpreterSequence &row : impl_->memory.step)
      impl_->memory.past[{group, row.id}] += row.count;
  return results;
}

/// The operations a value depends on, operands first. Nothing if a function argument is among its sources.
static std::optional<llvm::SetVector<mlir::Operation *>> sourcesOf(mlir::Value value) {
  llvm::SetVector<mlir::Operation *> order;
  llvm::SmallVector<mlir::Value> pending{value};
  while (!pending.empty()) {
    mlir::Operation *op = pending.back().getDefiningOp();
    if (!op || op->getNumRegions() != 0 || !mlir::isMemoryEffectFree(op))
      return std::nullopt;
    size_t before = pending.size();
    for (mlir::Value operand : op->getOperands())
      if (!operand.getDefiningOp() || !order.contains(operand.getDefiningOp()))
        pending.push_back(operand);
    if (pending.size() == before) {
      order.insert(op);
      pending.pop_back();
    }
  }
  return order;
}

Result<Tensor> Interpreter::evaluate(mlir::Value value) {
  auto order = sourcesOf(value);
  if (!order)
    return unsupported("E0703", "the value depends on inputs or on state");
  // Weights are not kept: one expression after the other passes here when an artifact is written.
  Frame frame(impl_->memory, impl_->weights, nullptr);
  llvm::DenseMap<mlir::Value, int64_t> uses;
  for (mlir::Operation *op : *order)
    for (mlir::Value operand : op->getOperands())
      ++uses[operand];
  ++uses[value];
  for (mlir::Operation *op : *order) {
    LLMOPT_RETURN_IF_ERROR(impl_->runOp(op, frame));
    for (mlir::Value operand : op->getOperands())
      if (--uses[operand] == 0)
        frame.drop(operand);
  }
  return toTensor(frame.in(value));
}
