//===- Attention.cpp - family "attention": padded batches -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionDense.h"
#include "codegen/CPU/AttentionStep.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

Status fillOperands(DenseProblem &problem) {
  llm::AttentionOp op = problem.op;
  problem.query = throughViews(op.getQuery());
  problem.key = throughViews(op.getKey());
  problem.value = throughViews(op.getValue());
  if (op.getMask())
    problem.mask = throughViews(op.getMask());
  if (!problem.query || !problem.key || !problem.value || (op.getMask() && !problem.mask))
    return unsupported("E0970", "an operand of attention is computed inside its kernel");
  for (Value tensor : {Value(op.getQuery()), Value(op.getKey()), Value(op.getValue()), Value(op.getResult())}) {
    auto type = cast<RankedTensorType>(tensor.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(3))
      return unsupported("E0971", "attention kernels take f32 heads of static number and size");
  }
  Type mask = op.getMask() ? getElementTypeOrSelf(op.getMask().getType()) : Type();
  if (mask && !mask.isInteger(1) && !isa<FloatType>(mask))
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

Result<LoweredKernel> lowerAttention(exec::KernelOp kernel, FamilyContext &family) {
  Block &block = kernel.getBody().front();
  auto attentions = block.getOps<llm::AttentionOp>();
  if (!llvm::hasSingleElement(attentions) || kernel.getNumResults() != 1)
    return unsupported("E0975", "an attention kernel has one attention and one result");
  DenseProblem problem;
  problem.op = *attentions.begin();
  Operation *yielded = block.getTerminator()->getOperand(0).getDefiningOp();
  while (yielded && yielded != problem.op && isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(yielded))
    yielded = yielded->getOperand(0).getDefiningOp();
  if (yielded != problem.op)
    return unsupported("E0975", "an attention kernel has one attention and one result");
  LLMOPT_RETURN_IF_ERROR(fillOperands(problem));
  LLMOPT_RETURN_IF_ERROR(fillShapes(problem, family.shapes));
  problem.output = kernel.getNumOperands();

  SymContext &symbols = family.shapes.symbols();
  LoweredKernel result;
  SmallVector<SymExpr> dims = {problem.batch, problem.queries, problem.keys};
  llvm::append_range(dims, problem.maskDims);
  for (SymExpr dim : dims)
    if (!dim.constant() && !llvm::is_contained(result.dims, dim))
      result.dims.push_back(dim);
  KernelVariant variant{family.symbol, 0, {}, {}};
  variant.units = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.kvHeads)),
                              symbols.ceilDiv(problem.queries, symbols.constant(problem.tileTokens())));
  KernelBuilder b(family.module, variant.symbol, symbols);
  for (SymExpr dim : result.dims)
    b.dim(dim);
  variant.scratchBytes = symbols.constant(emitDenseAttention(b, problem, family.target, symbols));
  b.finish();
  result.variants.push_back(variant);
  SymExpr rows = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.heads)), problem.queries);
  int64_t sizes = problem.keySize + problem.valueSize;
  result.flops = symbols.mul(symbols.mul(rows, problem.keys), symbols.constant(2 * sizes));
  SymExpr cached = symbols.mul(symbols.mul(problem.batch, symbols.constant(problem.kvHeads)), problem.keys);
  result.bytesMoved = symbols.mul(symbols.add(rows, cached), symbols.constant(4 * sizes));
  return result;
}

} // namespace llmopt::cpu
