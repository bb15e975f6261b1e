//===- LinearRegion.cpp - what a "linear" kernel computes -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearRegion.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

using Linears = llvm::SetVector<Operation *>;

/// Collects the linears that `value` is computed from; false if something else than elementwise operations lies between.
bool collectLinears(Value value, Linears &linears, llvm::SmallPtrSetImpl<Operation *> &seen) {
  Operation *op = value.getDefiningOp();
  if (!op || !seen.insert(op).second || isa<llm::ConstantOp>(op) || chosenRows(value))
    return true;
  if (Projection::ofAny(op)) {
    linears.insert(op);
    return true;
  }
  if (!op->hasTrait<llm::Elementwise>())
    return false;
  return llvm::all_of(op->getOperands(), [&](Value operand) { return collectLinears(operand, linears, seen); });
}

Status checkLinear(Projection linear, Projection first) {
  auto weight = linear.weightType();
  Type inputElement = getElementTypeOrSelf(linear.getInput().getType()), element = weight.getElementType();
  if (linear.getInput() != first.getInput() || (linear.isGrouped() && linear->getOperands().drop_front(2) != first->getOperands().drop_front(2)))
    return unsupported("E0930", "the projections of one kernel have different inputs");
  bool isMade = isa_and_nonnull<llm::LayerNormOp, llm::RMSNormOp, llm::CastOp, llm::GatherOp, llm::WindowsOp>(linear.getInput().getDefiningOp()) || isa<BlockArgument>(linear.getInput());
  if (!isMade || !isa<BlockArgument>(linear.getWeight()))
    return unsupported("E0931", "a projection's input or weight is computed inside its kernel");
  if (!linear.isBytes() && !inputElement.isF32())
    return unsupported("E0932", "projection kernels take f32 activations");
  if (!linear.isBytes() && !element.isF32() && !element.isF16() && !element.isBF16())
    return unsupported("E0933", "projection kernels take f32, f16 and bf16 weights");
  if (!weight.hasStaticShape() || weight.getNumElements() == 0)
    return unsupported("E0934", "a projection's weight has no static shape");
  return {};
}

/// Joins outputs that share a product into one segment.
Status addOutput(LinearProblem &problem, const Linears &linears, LinearOutput output) {
  LinearSegment joined;
  for (Operation *op : linears)
    joined.linears.push_back(Projection::ofAny(op));
  joined.columns = joined.linears.front().columns();
  for (size_t i = 0; i < problem.segments.size();) {
    LinearSegment &segment = problem.segments[i];
    if (llvm::none_of(segment.linears, [&](Projection linear) { return linears.contains(linear.operation()); })) {
      ++i;
      continue;
    }
    for (Projection linear : segment.linears)
      if (!llvm::is_contained(joined.linears, linear))
        joined.linears.push_back(linear);
    llvm::append_range(joined.outputs, segment.outputs);
    problem.segments.erase(problem.segments.begin() + int64_t(i));
  }
  joined.outputs.push_back(output);
  Type element = getElementTypeOrSelf(joined.linears.front().getWeight().getType());
  for (Projection linear : joined.linears)
    if (linear.columns() != joined.columns || getElementTypeOrSelf(linear.getWeight().getType()) != element)
      return unsupported("E0935", "projections of different widths or weight types meet in one result");
  problem.segments.push_back(std::move(joined));
  return {};
}

/// Rows of the result that an epilogue operand of this shape is read at may need its dimensions at run time.
void addDims(LinearProblem &problem, ArrayRef<SymExpr> dims) {
  for (SymExpr dim : dims)
    if (dim.known() && !dim.constant() && !llvm::is_contained(problem.dims, dim))
      problem.dims.push_back(dim);
}

Status addOperands(LinearProblem &problem, exec::KernelOp kernel, ShapeAnalysis &shapes) {
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (&op != problem.norm && op.getNumResults() == 1 && chosenRows(op.getResult(0))) {
      addDims(problem, {shapes.shapeOf(op.getOperand(0)).dims.front()});
      continue;
    }
    for (Value operand : op.getOperands()) {
      bool isInFront = problem.norm && (&op == problem.norm || op.isBeforeInBlock(problem.norm));
      if (!isa<BlockArgument>(operand) || Projection::ofAny(&op) || isInFront)
        continue;
      const ValueShape &shape = shapes.shapeOf(operand);
      auto type = cast<RankedTensorType>(operand.getType());
      if (type.getRank() > 0 && type.isDynamicDim(type.getRank() - 1))
        return unsupported("E0936", "the last dimension of an epilogue operand is not static");
      if (llvm::any_of(shape.dims, [](SymExpr dim) { return !dim.known(); }))
        return unsupported("E0937", "the shape of an epilogue operand is not known");
      addDims(problem, shape.dims);
    }
  }
  return {};
}

} // namespace

llm::GatherOp cpu::chosenRows(Value value) {
  auto gather = value.getDefiningOp<llm::GatherOp>();
  bool isChoice = gather && gather.getAxis() == 0 && isa<BlockArgument>(gather.getInput()) && isa<BlockArgument>(gather.getIndices()) &&
                  cast<RankedTensorType>(gather.getIndices().getType()).getRank() == 1 && cast<RankedTensorType>(gather.getType()).getRank() == 2;
  return isChoice ? gather : llm::GatherOp();
}

int64_t LinearProblem::panels() const {
  int64_t sum = 0;
  for (const LinearSegment &segment : segments)
    sum += segment.panels();
  return sum;
}

int64_t LinearProblem::mostWeights() const {
  size_t most = 1;
  for (const LinearSegment &segment : segments)
    most = std::max(most, segment.linears.size());
  return int64_t(most);
}

Result<LinearProblem> cpu::analyzeLinear(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  LinearProblem problem;
  Block &block = kernel.getBody().front();
  SmallVector<Projection> linears;
  for (Operation &op : block)
    if (Projection linear = Projection::ofAny(&op)) // a family that does not take experts is never given any
      linears.push_back(linear);
  if (linears.empty())
    return unsupported("E0938", "a kernel of family linear has no projection");
  Value input = linears.front().getInput();
  for (Projection linear : linears)
    LLMOPT_RETURN_IF_ERROR(checkLinear(linear, linears.front()));
  problem.integer = linears.front().isInteger();
  problem.float8 = linears.front().isFloat8();
  problem.norm = input.getDefiningOp();
  if (!problem.norm)
    problem.inputBinding = bindingOf(input);
  const ValueShape &inputShape = shapes.shapeOf(input);
  problem.depth = linears.front().depth();
  problem.rows = shapes.symbols().constant(1);
  auto grouped = dyn_cast<llm::GroupedLinearOp>(linears.front().operation());
  for (SymExpr dim : grouped ? ArrayRef(shapes.shapeOf(grouped.getOrder()).dims) : ArrayRef(inputShape.dims).drop_back()) {
    problem.leading.push_back(dim);
    problem.rows = shapes.symbols().mul(problem.rows, dim);
  }
  if (!problem.rows.known())
    return unsupported("E0939", "the number of rows of a projection is not known");
  addDims(problem, {problem.rows});
  addDims(problem, problem.leading);
  for (auto [i, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    Linears used;
    llvm::SmallPtrSet<Operation *, 8> seen;
    if (Operation *op = value.getDefiningOp(); problem.norm && op && (op == problem.norm || op->isBeforeInBlock(problem.norm)))
      continue;
    if (!collectLinears(value, used, seen) || used.empty())
      return unsupported("E0940", "a result of a projection kernel is not an elementwise function of a projection");
    LLMOPT_RETURN_IF_ERROR(addOutput(problem, used, {value, unsigned(block.getNumArguments() + i)}));
  }
  LLMOPT_RETURN_IF_ERROR(addOperands(problem, kernel, shapes));
  return problem;
}
