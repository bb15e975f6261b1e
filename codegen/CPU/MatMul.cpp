//===- MatMul.cpp - family "matmul": products of two run-time tensors -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The region is one llm.matmul followed by elementwise operations on its result.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionStep.h"
#include "codegen/CPU/MatMulBlocks.h"
#include "codegen/Common/ChooseStrategy.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Everything but the product and changes of its operands' shapes must be elementwise.
Status checkRegion(Block &block, llm::MatMulOp op) {
  auto isView = [](Operation *other) { return isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(other); };
  for (Operation &other : block.without_terminator()) {
    bool view = isView(&other) && llvm::all_of(other.getUsers(), [&](Operation *user) { return user == op || isView(user); });
    if (&other != op && !view && !isa<llm::ConstantOp>(other) && !other.hasTrait<llm::Elementwise>())
      return unsupported("E0960", "a matrix product kernel contains " + other.getName().getStringRef().str());
  }
  return {};
}

Status fillShapes(MatMulProblem &problem, ShapeAnalysis &shapes) {
  SymExpr one = shapes.symbols().constant(1);
  ArrayRef<SymExpr> left = shapes.shapeOf(problem.op.getLhs()).dims, right = shapes.shapeOf(problem.op.getRhs()).dims;
  ArrayRef<SymExpr> result = shapes.shapeOf(problem.op.getResult()).dims;
  bool row = left.size() == 1, column = right.size() == 1;
  problem.depth = left.back();
  problem.rows = row ? one : left[left.size() - 2];
  problem.columns = column ? one : right.back();
  problem.leftBatch.assign(left.begin(), row ? left.begin() : left.end() - 2);
  problem.rightBatch.assign(right.begin(), column ? right.begin() : right.end() - 2);
  problem.batch.assign(result.begin(), result.end() - (row ? 0 : 1) - (column ? 0 : 1));
  problem.leading.assign(result.begin(), column ? result.end() : result.end() - 1);
  auto unknown = [](SymExpr dim) { return !dim.known(); };
  if (llvm::any_of(left, unknown) || llvm::any_of(right, unknown) || llvm::any_of(result, unknown))
    return unsupported("E0961", "a dimension of a matrix product is not known");
  return {};
}

/// Outputs must follow from the product, and operands of the epilogue must have known shapes.
Status fillEpilogue(MatMulProblem &problem, exec::KernelOp kernel, ShapeAnalysis &shapes) {
  Block &block = kernel.getBody().front();
  for (auto [i, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    if (!value.getDefiningOp() || isa<llm::ConstantOp>(value.getDefiningOp()) || throughViews(value))
      return unsupported("E0962", "a result of a matrix product kernel does not come from the product");
    problem.outputs.push_back({value, unsigned(block.getNumArguments() + i)});
  }
  bool column = cast<RankedTensorType>(problem.op.getRhs().getType()).getRank() == 1;
  auto add = [&](ArrayRef<SymExpr> dims) {
    for (SymExpr dim : dims)
      if (!dim.constant() && !llvm::is_contained(problem.dims, dim))
        problem.dims.push_back(dim);
  };
  add({problem.rows, problem.depth, problem.columns});
  for (ArrayRef<SymExpr> dims : {ArrayRef<SymExpr>(problem.batch), ArrayRef<SymExpr>(problem.leftBatch),
                                 ArrayRef<SymExpr>(problem.rightBatch), ArrayRef<SymExpr>(problem.leading)})
    add(dims);
  for (Operation &op : block.without_terminator())
    for (Value operand : op.getOperands()) {
      if (!isa<BlockArgument>(operand) || !op.hasTrait<llm::Elementwise>())
        continue;
      ArrayRef<SymExpr> dims = shapes.shapeOf(operand).dims;
      if (column || llvm::any_of(dims, [](SymExpr dim) { return !dim.known(); }))
        return unsupported("E0937", "the shape of an epilogue operand is not known");
      // Whether the last dimension repeats must be known when compiling.
      if (!dims.empty() && !dims.back().isConstant(1) && !(dims.back() == problem.columns))
        return unsupported("E0936", "the last dimension of an epilogue operand may or may not repeat");
      add(dims);
    }
  return {};
}

Status checkTypes(const MatMulProblem &problem, llm::MatMulOp op) {
  Type left = getElementTypeOrSelf(op.getLhs().getType()), right = getElementTypeOrSelf(op.getRhs().getType());
  Type result = getElementTypeOrSelf(op.getResult().getType());
  bool floats = isa<FloatType>(left) && isa<FloatType>(right) && isa<FloatType>(result);
  bool integers = isa<IntegerType>(left) && isa<IntegerType>(right) && isa<IntegerType>(result);
  unsigned wide = result.getIntOrFloatBitWidth();
  if ((!floats && !integers) || left.isInteger(1) || right.isInteger(1) ||
      (integers && (left.getIntOrFloatBitWidth() > wide || right.getIntOrFloatBitWidth() > wide)) ||
      (floats && (left.isF64() != result.isF64() || right.isF64() != result.isF64())))
    return unsupported("E0963", "this combination of element types has no matrix product kernel");
  return {};
}

SymExpr product(SymContext &symbols, ArrayRef<SymExpr> dims) {
  SymExpr result = symbols.constant(1);
  for (SymExpr dim : dims)
    result = symbols.mul(result, dim);
  return result;
}

} // namespace

namespace llmopt::cpu {

Result<LoweredKernel> lowerMatMul(exec::KernelOp kernel, FamilyContext &family) {
  Block &block = kernel.getBody().front();
  auto products = block.getOps<llm::MatMulOp>();
  if (!llvm::hasSingleElement(products))
    return unsupported("E0964", "a matrix product kernel has one llm.matmul");
  MatMulProblem problem;
  problem.op = *products.begin();
  problem.left = throughViews(problem.op.getLhs());
  problem.right = throughViews(problem.op.getRhs());
  if (!problem.left || !problem.right)
    return unsupported("E0965", "an operand of a matrix product is computed inside its kernel");
  LLMOPT_RETURN_IF_ERROR(checkRegion(block, problem.op));
  LLMOPT_RETURN_IF_ERROR(checkTypes(problem, problem.op));
  LLMOPT_RETURN_IF_ERROR(fillShapes(problem, family.shapes));
  LLMOPT_RETURN_IF_ERROR(fillEpilogue(problem, kernel, family.shapes));
  LLMOPT_RETURN_IF_ERROR(chooseStrategy(kernel, family.shapes, family.target));
  auto strategy = cast<strategy::GemmAttr>(kernel.getStrategyAttr());

  SymContext &symbols = family.shapes.symbols();
  SymExpr batch = product(symbols, problem.batch);
  KernelVariant variant{family.symbol, 0, {}, {}};
  variant.units = symbols.mul(batch, symbols.mul(symbols.ceilDiv(problem.rows, symbols.constant(kMatMulRows)),
                                                 symbols.ceilDiv(problem.columns, symbols.constant(kMatMulColumns))));
  KernelBuilder b(family.module, variant.symbol, symbols);
  for (SymExpr dim : problem.dims)
    b.dim(dim);
  variant.scratchBytes = symbols.constant(emitMatMul(b, problem, family.shapes, family.target, strategy.getVectorBits()));
  LoweredKernel result;
  result.variants.push_back(variant);
  result.dims = problem.dims;
  result.flops = symbols.mul(symbols.constant(2), product(symbols, {batch, problem.rows, problem.depth, problem.columns}));
  auto bytes = [&](Value tensor) {
    int64_t width = std::max<int64_t>(1, getElementTypeOrSelf(tensor.getType()).getIntOrFloatBitWidth() / 8);
    return symbols.mul(product(symbols, family.shapes.shapeOf(tensor).dims), symbols.constant(width));
  };
  result.bytesMoved = symbols.add(bytes(problem.op.getLhs()), symbols.add(bytes(problem.op.getRhs()), bytes(problem.op.getResult())));
  return result;
}

} // namespace llmopt::cpu
