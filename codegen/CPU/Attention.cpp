//===- Attention.cpp - family "attention": padded batches -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionDense.h"
#include "codegen/CPU/AttentionStep.h"
#include "codegen/CPU/LinearRegion.h"
#include "llmopt/dialects/Strategy/Strategy.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Rows as the kernel steps through them; an error names what strides cannot say.
Result<DenseRows> rowsOf(const std::optional<StridedLayout> &layout, unsigned binding) {
  bool fits = layout && layout->dims.size() == 4 && layout->strides[2].constant() &&
              (layout->strides[3].isConstant(1) || layout->dims[3].isConstant(1));
  if (!fits)
    return unsupported("E0970", "attention cannot step through an operand: rows of features must have no gaps and a constant distance");
  return DenseRows{binding, layout->offset, layout->strides[0], layout->strides[1], *layout->strides[2].constant()};
}

Result<DenseRows> operandRows(Value operand, ShapeAnalysis &shapes) {
  Value source = operand;
  while (source.getDefiningOp() && movesNothing(source.getDefiningOp()))
    source = source.getDefiningOp()->getOperand(0);
  if (source.getDefiningOp())
    return unsupported("E0970", "an operand of attention is computed inside its kernel");
  return rowsOf(layoutInSource(operand, source, shapes), bindingOf(source));
}

Status fillOperands(DenseProblem &problem, exec::KernelOp kernel, ShapeAnalysis &shapes) {
  llm::AttentionOp op = problem.op;
  for (Value tensor : {Value(op.getQuery()), Value(op.getKey()), Value(op.getValue()), Value(op.getResult())}) {
    auto type = cast<RankedTensorType>(tensor.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(3))
      return unsupported("E0971", "attention kernels take f32 heads of static number and size");
  }
  LLMOPT_ASSIGN(problem.query, operandRows(op.getQuery(), shapes));
  LLMOPT_ASSIGN(problem.key, operandRows(op.getKey(), shapes));
  LLMOPT_ASSIGN(problem.value, operandRows(op.getValue(), shapes));
  Value yielded = kernel.getBody().front().getTerminator()->getOperand(0);
  LLMOPT_ASSIGN(problem.output, rowsOf(layoutForResult(op.getResult(), yielded, shapes), kernel.getNumOperands()));
  if (!op.getMask())
    return {};
  problem.mask = throughViews(op.getMask());
  if (!problem.mask)
    return unsupported("E0970", "the mask of attention is computed inside its kernel");
  Type mask = getElementTypeOrSelf(op.getMask().getType());
  if (!mask.isInteger(1) && !isa<FloatType>(mask))
    return unsupported("E0972", "the mask of an attention kernel is neither i1 nor float");
  return {};
}

Status fillShapes(DenseProblem &problem, ShapeAnalysis &shapes) {
  llm::AttentionOp op = problem.op;
  ArrayRef<SymExpr> query = shapes.shapeOf(op.getQuery()).dims, key = shapes.shapeOf(op.getKey()).dims;
  problem.batch = query[0];
  problem.queries = query[2];
  problem.keys = key[2];
  auto queryType = cast<RankedTensorType>(op.getQuery().getType()), keyType = cast<RankedTensorType>(op.getKey().getType());
  problem.heads = queryType.getDimSize(1);
  problem.kvHeads = keyType.getDimSize(1);
  problem.keySize = queryType.getDimSize(3);
  problem.valueSize = cast<RankedTensorType>(op.getValue().getType()).getDimSize(3);
  if (op.getMask())
    problem.maskDims = shapes.shapeOf(op.getMask()).dims;
  for (SymExpr dim : {problem.batch, problem.queries, problem.keys})
    if (!dim.known())
      return unsupported("E0973", "a dimension of attention is not known");
  for (SymExpr dim : problem.maskDims)
    if (!dim.known())
      return unsupported("E0973", "a dimension of an attention mask is not known");
  if (!problem.maskDims.empty() && !problem.maskDims.back().isConstant(1) && !(problem.maskDims.back() == problem.keys))
    return unsupported("E0974", "the last dimension of an attention mask may or may not repeat");
  return {};
}

} // namespace

namespace llmopt::cpu {

Result<DenseProblem> denseProblem(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  auto attentions = kernel.getBody().getOps<llm::AttentionOp>();
  if (!llvm::hasSingleElement(attentions) || kernel.getNumResults() != 1)
    return unsupported("E0975", "an attention kernel has one attention and one result");
  DenseProblem problem;
  problem.op = *attentions.begin();
  auto strategy = dyn_cast_or_null<strategy::AttentionAttr>(kernel.getStrategyAttr());
  problem.bf16Products = strategy && strategy.getBf16Products();
  problem.amx = strategy && strategy.getAmx();
  LLMOPT_RETURN_IF_ERROR(fillOperands(problem, kernel, shapes));
  LLMOPT_RETURN_IF_ERROR(fillShapes(problem, shapes));
  return problem;
}

void addDimsAndCosts(const DenseProblem &problem, SymContext &symbols, LoweredKernel &kernel) {
  SmallVector<SymExpr> dims = {problem.batch, problem.queries, problem.keys};
  llvm::append_range(dims, problem.maskDims);
  for (const DenseRows &rows : {problem.query, problem.key, problem.value, problem.output})
    dims.append({rows.offset, rows.batch, rows.head});
  for (SymExpr dim : dims)
    if (!dim.constant() && !llvm::is_contained(kernel.dims, dim))
      kernel.dims.push_back(dim);
  SymExpr rows = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.heads)), problem.queries);
  int64_t sizes = problem.keySize + problem.valueSize;
  kernel.flops = symbols.mul(symbols.mul(rows, problem.keys), symbols.constant(2 * sizes));
  SymExpr cached = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.kvHeads)), problem.keys);
  kernel.bytesMoved = symbols.mul(symbols.add(rows, cached), symbols.constant(4 * sizes));
}

Result<LoweredKernel> lowerAttention(exec::KernelOp kernel, FamilyContext &family) {
  LLMOPT_ASSIGN(DenseProblem problem, denseProblem(kernel, family.shapes));
  SymContext &symbols = family.shapes.symbols();
  LoweredKernel result;
  addDimsAndCosts(problem, symbols, result);
  if (problem.bf16Products && family.target.bf16Dot)
    result.arithmetic = DType::BF16;
  KernelVariant variant{family.symbol, 0, {}, {}};
  variant.units = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.kvHeads)),
                              symbols.ceilDiv(problem.queries, symbols.constant(problem.tileTokens())));
  KernelBuilder b(family.module, variant.symbol, symbols);
  for (SymExpr dim : result.dims)
    b.dim(dim);
  variant.scratchBytes = symbols.constant(emitDenseAttention(b, problem, family.target, symbols));
  result.variants.push_back(variant);
  return result;
}

} // namespace llmopt::cpu
