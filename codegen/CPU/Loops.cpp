//===- Loops.cpp - the family of loop nests -------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Loops.h"

#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

void cpu::addCosts(exec::KernelOp kernel, ShapeAnalysis &shapes, LoweredKernel &lowered) {
  SymContext &symbols = shapes.symbols();
  auto elements = [&](Value value) {
    SymExpr count = symbols.constant(1);
    for (SymExpr dim : shapes.shapeOf(value).dims)
      count = symbols.mul(count, dim);
    return count;
  };
  auto bytes = [&](Value value) {
    int64_t bits = getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth();
    return symbols.mul(elements(value), symbols.constant(std::max<int64_t>(1, bits / 8)));
  };
  Block &body = kernel.getBody().front();
  lowered.bytesMoved = lowered.flops = symbols.constant(0);
  for (BlockArgument argument : body.getArguments()) {
    // A table is not read as a whole.
    bool isTable = llvm::all_of(argument.getUsers(), [&](Operation *user) {
      return isa<llm::ShapeOp>(user) || (isa<llm::EmbeddingOp, llm::GatherOp>(user) && user->getOperand(isa<llm::EmbeddingOp>(user)) == argument);
    });
    if (!isTable)
      lowered.bytesMoved = symbols.add(lowered.bytesMoved, bytes(argument));
  }
  for (Value result : body.getTerminator()->getOperands())
    lowered.bytesMoved = symbols.add(lowered.bytesMoved, bytes(result));
  for (Operation &op : body)
    if (op.hasTrait<llm::Elementwise>() || isa<llm::ReduceOp>(op))
      lowered.flops = symbols.add(lowered.flops, elements(isa<llm::ReduceOp>(op) ? op.getOperand(0) : op.getResult(0)));
}

/// Weights that matrix kernels of other targets stream are read as those have them, so that a file holds them once.
static void readPackedWeights(exec::KernelOp kernel, ElementEmitter &emitter, LoweredKernel &lowered) {
  kernel.getBody().walk([&](llm::LinearOp linear) {
    auto weight = dyn_cast<BlockArgument>(linear.getWeight());
    std::optional<DType> type = weight ? llm::dtypeOf(emitter.elementType(weight)) : std::nullopt;
    std::string_view layout = type ? panelLayout(*type) : "";
    bool onlyWeight = weight && llvm::all_of(weight.getUses(), [](OpOperand &use) {
      auto user = dyn_cast<llm::LinearOp>(use.getOwner());
      return user && user.getWeight() == use.get() && user.getInput() != use.get();
    });
    if (layout.empty() || !onlyWeight)
      return;
    bool outputsFirst = !linear.getTransposed();
    emitter.setPacked(weight, {inputGroup(layout), outputsFirst});
    lowered.weightLayouts[weight.getArgNumber()] = {std::string(layout), outputsFirst};
  });
}

Result<LoweredKernel> cpu::lowerLoops(exec::KernelOp kernel, FamilyContext &context) {
  if (Operation *op = sliceOperation(kernel))
    return lowerSlices(kernel, op, context);
  SymContext &symbols = context.shapes.symbols();
  LoopsChoice choice = chooseLoops(kernel, context.target);
  std::vector<LoopNest> nests = makeNests(kernel, context.shapes);
  KernelBuilder b(context.module, context.symbol, symbols);
  ElementEmitter emitter(b, kernel, context, choice.lanes);
  LoopScopes &s = emitter.scopes;

  LoweredKernel lowered;
  if (kernel.getFamily() == "linear") // whose weights are never results of other kernels
    readPackedWeights(kernel, emitter, lowered);
  SymExpr first = symbols.constant(0);
  for (const LoopNest &nest : nests) {
    NestUnits units = planNest(nest, emitter, choice);
    if (!units.count.known())
      return unsupported("E0911", "the shape of a kernel's result is not known before it runs", context.symbol);
    lowered.optimizeLoops |= units.scalar;
    SymExpr last = symbols.add(first, units.count);
    // The units of this nest that fall to this part.
    Value begin = b.unitBegin(), end = b.unitEnd();
    if (nests.size() > 1) {
      begin = b.max(begin, s.scalar(s.dim(first)));
      end = b.min(end, s.scalar(s.dim(last)));
    }
    s.loop(begin, end, 1, 1, [&](Index unit) { emitNest(nest, units, emitter, s.sub(unit, s.dim(first))); });
    first = last;
  }
  if (!emitter.status())
    return emitter.status();
  if (s.sawUnknown)
    return unsupported("E0911", "a size that the kernel needs is not known before it runs", context.symbol);
  expandHalfConversions(context.module, context.target);
  lowered.variants.push_back({context.symbol, 0, first, SymExpr()});
  lowered.dims.assign(b.dims().begin(), b.dims().end());
  addCosts(kernel, context.shapes, lowered);
  return lowered;
}
