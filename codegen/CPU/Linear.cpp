//===- Linear.cpp - family "linear": projections with packed weights ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Bf16Terms.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/LinearRegion.h"
#include "codegen/CPU/LinearStream.h"
#include "codegen/CPU/Rows.h"
#include "codegen/Common/ChooseStrategy.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Writes one variant; `dims`: what it reads, which must be the same for all.
KernelVariant lowerBucket(const LinearContext &context, FamilyContext &family, strategy::GemmBucketAttr bucket, std::vector<SymExpr> &dims) {
  KernelVariant variant;
  variant.symbol = family.symbol + (bucket.getMaxM() ? "_m" + std::to_string(bucket.getMaxM()) : "_many");
  variant.limit = bucket.getMaxM();
  KernelBuilder b(family.module, variant.symbol, family.shapes.symbols());
  for (SymExpr dim : context.problem.dims)
    b.dim(dim);
  SymContext &symbols = family.shapes.symbols();
  int64_t scratch = 0;
  if (bucket.getMBlock() == 0) {
    variant.units = symbols.mul(symbols.constant(context.problem.panels()), symbols.min(context.problem.rows, symbols.constant(1))); // none without rows
    scratch = emitLinearStream(b, context, bucket);
  } else {
    variant.units = linearBlockUnits(context, bucket);
    scratch = emitLinearBlocks(b, context, bucket);
  }
  variant.scratchBytes = symbols.constant(scratch);
  dims.assign(b.dims().begin(), b.dims().end());
  return variant;
}

void declareWeights(const LinearContext &context, LoweredKernel &result) {
  for (const LinearSegment &segment : context.problem.segments)
    for (Projection linear : segment.linears)
      result.weightLayouts[bindingOf(linear.getWeight())] = {weightLayout(context, linear), !linear.getTransposed()};
}

/// Takes a cast from bf16 off the input of products in bf16: its rows are what these multiply.
bool takeRounded(LinearProblem &problem) {
  auto cast = dyn_cast_or_null<llm::CastOp>(problem.norm);
  if (!cast || !isa<BlockArgument>(cast.getInput()) || !getElementTypeOrSelf(cast.getInput().getType()).isBF16() || problem.depth % 2 != 0)
    return false;
  problem.inputBinding = bindingOf(cast.getInput());
  problem.norm = nullptr;
  return true;
}

/// Multiplications and additions, those of all products of terms; weights, input and results once.
void declareCost(const LinearContext &context, SymContext &symbols, LoweredKernel &result) {
  const LinearProblem &problem = context.problem;
  int64_t columns = 0, allWeights = 0, outputBytes = 0;
  for (const LinearSegment &segment : problem.segments) {
    columns += segment.columns * int64_t(segment.linears.size());
    allWeights += weightBytes(context, segment);
    for (const LinearOutput &output : segment.outputs)
      outputBytes += segment.columns * getElementTypeOrSelf(output.value.getType()).getIntOrFloatBitWidth() / 8;
  }
  int64_t products = int64_t(termProducts(context.rowTerms(), context.weightTerms()).size());
  result.flops = symbols.mul(problem.rows, symbols.constant(2 * problem.depth * columns * products));
  SymExpr activations = symbols.mul(problem.rows, symbols.constant((problem.integer ? 1 : context.roundedInput ? 2 : 4) * problem.depth + outputBytes));
  result.bytesMoved = symbols.add(symbols.constant(allWeights), activations);
}

} // namespace

namespace llmopt::cpu {

Result<LoweredKernel> lowerLinear(exec::KernelOp kernel, FamilyContext &family) {
  LLMOPT_ASSIGN(LinearProblem problem, analyzeLinear(kernel, family.shapes));
  LLMOPT_RETURN_IF_ERROR(chooseStrategy(kernel, family.shapes, family.target));
  auto strategy = dyn_cast_or_null<strategy::GemmAttr>(kernel.getStrategyAttr());
  if (!strategy || strategy.getBuckets().empty())
    return internalError("E0941", "a projection kernel has no matrix strategy");
  bool rounded = strategy.getBf16Products() && takeRounded(problem);
  LinearContext context{problem, family.shapes, family.target, strategy.getVectorBits() / 32, strategy.getBf16Products(), {}, {}, rounded, strategy.getAmx(), /*inGroups=*/false, strategy.getTerms()};
  context.codes = codesOf(kernel, family.target, strategy, problem.depth);
  LoweredKernel result;
  Status status;
  if (problem.norm)
    context.norm = [&](KernelBuilder &b, Value first, Value end, Value to, Value publish) {
      if (Status emitted = emitNormRows(b, kernel, family, context.lanes, {problem.norm, first, end, to, publish}); !emitted.ok())
        status = emitted;
    };
  for (strategy::GemmBucketAttr bucket : strategy.getBuckets()) {
    std::vector<SymExpr> dims;
    result.variants.push_back(lowerBucket(context, family, bucket, dims));
    LLMOPT_RETURN_IF_ERROR(status);
    if (result.variants.size() > 1 && result.dims != dims)
      return internalError("E0942", "variants of a projection kernel read different dimensions");
    result.dims = std::move(dims);
  }
  if (problem.norm || context.codes || context.splitsWeights())
    expandHalfConversions(family.module, family.target);
  if (result.variants.size() > 1)
    result.selector = problem.rows;
  result.arithmetic = arithmeticOf(context);
  declareWeights(context, result);
  declareCost(context, family.shapes.symbols(), result);
  return result;
}

} // namespace llmopt::cpu
