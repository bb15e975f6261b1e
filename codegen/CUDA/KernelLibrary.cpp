//===- KernelLibrary.cpp - which library kernel computes a region ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/KernelLibrary.h"

#include "codegen/CPU/Loops.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "mlir/IR/Remarks.h"

#include <bit>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;
using Argument = KernelLibrary::Argument;
using Implementation = KernelLibrary::Implementation;

namespace {

std::optional<double> numberOf(Attribute attribute) {
  if (auto real = dyn_cast_if_present<FloatAttr>(attribute))
    return real.getValueAsDouble();
  if (auto whole = dyn_cast_if_present<IntegerAttr>(attribute))
    return whole.getType().isInteger(1) ? double(whole.getValue().getZExtValue()) : double(whole.getInt());
  return std::nullopt;
}

/// One implementation against one operation.
class Match {
public:
  Match(const Implementation &implementation, exec::KernelOp kernel, Operation *op, ShapeAnalysis &shapes)
      : implementation_(implementation), kernel_(kernel), op_(op), shapes_(shapes) {}

  /// Empty where it fits.
  std::string whyNot(const Target &target);
  LoweredDeviceKernel lower(const std::string &symbol);

private:
  SymExpr size(StringRef name);
  uint32_t dim(SymExpr expression);
  DeviceParameter parameter(const Argument &argument);
  std::string compareTypes();

  const Implementation &implementation_;
  exec::KernelOp kernel_;
  Operation *op_;
  ShapeAnalysis &shapes_;
  LoweredDeviceKernel lowered_;
};

/// Of the first result: "columns" is its last dimension, "rows" all others, "elements" both.
SymExpr Match::size(StringRef name) {
  SymContext &symbols = shapes_.symbols();
  ArrayRef<SymExpr> dims = shapes_.shapeOf(op_->getResult(0)).dims;
  if (name == "rows")
    dims = dims.empty() ? dims : dims.drop_back();
  if (name == "columns")
    dims = dims.take_back(1);
  SymExpr product = symbols.constant(1);
  for (SymExpr dim : dims)
    product = symbols.mul(product, dim);
  return product;
}

std::string Match::compareTypes() {
  SmallVector<Type> types(op_->getOperandTypes());
  types.append(op_->result_type_begin(), op_->result_type_end());
  std::string found;
  for (Type type : types)
    found += (found.empty() ? "" : ", ") + std::string(dtypeName(*llm::dtypeOf(getElementTypeOrSelf(type))));
  std::string wanted;
  for (const std::string &type : implementation_.types)
    wanted += (wanted.empty() ? "" : ", ") + type;
  return found == wanted ? "" : "it is for types (" + wanted + "), here they are (" + found + ")";
}

std::string Match::whyNot(const Target &target) {
  if (implementation_.capability / 10 != target.computeCapability / 10 || implementation_.capability > target.computeCapability)
    return "it is for sm_" + std::to_string(implementation_.capability);
  if (std::string types = compareTypes(); !types.empty())
    return types;
  for (Value operand : op_->getOperands())
    if (!isa<BlockArgument>(operand))
      return "an operand is an immediate";
  for (const auto &[name, wanted] : implementation_.attributes) {
    std::optional<double> found = numberOf(op_->getAttr(name));
    if (!found || float(*found) != float(wanted))
      return "it is for " + name + " = " + std::to_string(wanted) + (found ? ", here it is " + std::to_string(*found) : "");
  }
  for (const KernelLibrary::Bound &bound : implementation_.bounds) {
    std::optional<int64_t> value = size(bound.size).constant();
    if (!value || *value < bound.least || *value > bound.most || *value % bound.multipleOf != 0)
      return "it is for other " + bound.size + (value ? ", here " + std::to_string(*value) : ", here they are not known");
  }
  for (const Argument &argument : implementation_.arguments) {
    if ((argument.kind == Argument::Kind::Operand && argument.index >= op_->getNumOperands()) ||
        (argument.kind == Argument::Kind::Result && argument.index >= op_->getNumResults()))
      return "it takes an operand or result that the operation does not have";
    if (argument.kind == Argument::Kind::Attribute && !numberOf(op_->getAttr(argument.name)))
      return "the operation has no number '" + argument.name + "'";
    if (argument.kind == Argument::Kind::Size && !size(argument.name).known())
      return "its sizes are not known before it runs";
  }
  return size(implementation_.units).known() ? "" : "its sizes are not known before it runs";
}

uint32_t Match::dim(SymExpr expression) {
  std::vector<SymExpr> &dims = lowered_.plan.dims;
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] == expression)
      return uint32_t(i) + 1;
  dims.push_back(expression);
  return uint32_t(dims.size());
}

DeviceParameter Match::parameter(const Argument &argument) {
  DeviceParameter parameter{DeviceParameter::Kind::Constant, 0, argument.bytes(), 0};
  auto number = [&](double value) {
    parameter.value = argument.type == "f32"   ? std::bit_cast<uint32_t>(float(value))
                      : argument.type == "i32" ? uint32_t(int32_t(value))
                                               : uint64_t(int64_t(value));
  };
  switch (argument.kind) {
  case Argument::Kind::Operand:
    parameter.kind = DeviceParameter::Kind::Buffer;
    parameter.index = cast<BlockArgument>(op_->getOperand(argument.index)).getArgNumber();
    break;
  case Argument::Kind::Result:
    parameter.kind = DeviceParameter::Kind::Buffer;
    parameter.index = uint32_t(kernel_.getInputs().size()) + argument.index;
    break;
  case Argument::Kind::Size:
    parameter.kind = DeviceParameter::Kind::Dim;
    parameter.index = dim(size(argument.name));
    break;
  case Argument::Kind::Attribute:
    number(*numberOf(op_->getAttr(argument.name)));
    break;
  case Argument::Kind::Value:
    number(argument.value);
    break;
  }
  return parameter;
}

LoweredDeviceKernel Match::lower(const std::string &symbol) {
  DeviceKernel kernel = implementation_.kernel;
  kernel.entry = kernel.name;
  kernel.name = symbol;
  for (size_t i = 0; i < implementation_.arguments.size(); ++i)
    kernel.parameters[i] = parameter(implementation_.arguments[i]);
  lowered_.unit.form = implementation_.form;
  lowered_.unit.source = implementation_.image;
  lowered_.unit.origin = implementation_.origin;
  lowered_.unit.exact = true; // its maker chose how it is compiled
  lowered_.unit.kernels.push_back(std::move(kernel));
  lowered_.plan.variants.push_back({symbol, 0, size(implementation_.units), SymExpr()});
  cpu::addCosts(kernel_, shapes_, lowered_.plan);
  return std::move(lowered_);
}

/// The only operation of a region, if it yields the operation's results and nothing else.
Operation *onlyOperation(exec::KernelOp kernel) {
  Block &block = kernel.getBody().front();
  if (block.getOperations().size() != 2)
    return nullptr;
  Operation *op = &block.front();
  return llvm::equal(op->getResults(), block.getTerminator()->getOperands()) ? op : nullptr;
}

} // namespace

std::vector<std::string> KernelLibrary::operations() const {
  std::vector<std::string> names;
  for (const Implementation &implementation : implementations_)
    if (!llvm::is_contained(names, implementation.operation))
      names.push_back(implementation.operation);
  return names;
}

std::optional<LoweredDeviceKernel> KernelLibrary::lower(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                                        const std::string &symbol) const {
  Operation *op = onlyOperation(kernel);
  for (const Implementation &implementation : implementations_) {
    if (!op || op->getName().getStringRef() != implementation.operation)
      continue;
    Match match(implementation, kernel, op, shapes);
    std::string reason = match.whyNot(target);
    auto options = remark::RemarkOpts::name("kernel-library").category("kernel");
    if (reason.empty()) {
      remark::passed(kernel.getLoc(), options) << remark::metric("Root", implementation.operation) << remark::metric("Kernel", implementation.kernel.name)
                                               << remark::metric("Image", implementation.origin);
      return match.lower(symbol);
    }
    remark::missed(kernel.getLoc(), options) << remark::reason("{0}", reason) << remark::metric("Root", implementation.operation)
                                             << remark::metric("Kernel", implementation.kernel.name) << remark::metric("Image", implementation.origin);
  }
  return std::nullopt;
}
