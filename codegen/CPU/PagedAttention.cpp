//===- PagedAttention.cpp - family "paged_attention" ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A work unit is a tile of tokens of the step (one token where the step has few, and they are of different sequences) with one key-value head. A tile may touch
// several sequences; each run of tokens of one sequence is a problem of its own. Queries may be rotated on the way (llm.rope in
// the region).
//
// Threads cannot share few heads evenly: then keys are cut into ranges, the threads of a step of few tokens get heads of ranges, and a second
// stage joins them.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/PagedAttentionWriter.h"
#include "llmopt/dialects/Strategy/Strategy.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Steps of at most this many tokens are dealt out token by token, as long as these belong to different sequences.
constexpr int64_t kFewTokens = 16;

/// Four threads share a multiple of four heads. A window's few keys are not worth a second stage.
bool wantsRanges(llm::PagedAttentionOp op, const PagedProblem &problem, const Target &target) {
  constexpr int64_t kWorthCutting = 2048;
  return !target.isGpu() && problem.kvHeads % 4 != 0 && (op.getWindow() == 0 || int64_t(op.getWindow()) > kWorthCutting);
}

Status checkPaged(llm::PagedAttentionOp op, const HeadsSource &queries) {
  if (!queries.argument)
    return unsupported("E0955", "a paged attention kernel computes more than rotary positions and changes of shape");
  for (Value heads : {Value(op.getQuery()), Value(op.getResult())}) {
    auto type = cast<RankedTensorType>(heads.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(2))
      return unsupported("E0956", "paged attention kernels take f32 heads of static number and size");
  }
  for (Value operand : {Value(op.getSlopes()), Value(op.getBias()), Value(op.getSinks())})
    if (operand && (!isa<BlockArgument>(operand) || !getElementTypeOrSelf(operand.getType()).isF32()))
      return unsupported("E0957", "slopes, bias and sinks of a paged attention kernel must be f32 operands");
  return {};
}

} // namespace

namespace llmopt::cpu {

Result<LoweredKernel> lowerPagedAttention(exec::KernelOp kernel, FamilyContext &family) {
  auto attentions = kernel.getBody().getOps<llm::PagedAttentionOp>();
  Block &block = kernel.getBody().front();
  if (!llvm::hasSingleElement(attentions) || kernel.getNumResults() != 1 ||
      throughViewsTo(block.getTerminator()->getOperand(0)) != (*attentions.begin()).getOperation())
    return unsupported("E0958", "a paged attention kernel has one result, that of the attention");
  llm::PagedAttentionOp op = *attentions.begin();
  HeadsSource queries = traceHeads(op.getQuery());
  LLMOPT_RETURN_IF_ERROR(checkPaged(op, queries));
  SymContext &symbols = family.shapes.symbols();
  SymExpr tokens = family.shapes.shapeOf(op.getQuery()).dims.front();
  if (!tokens.known())
    return unsupported("E0953", "the number of tokens of a step is not known");

  LoweredKernel result;
  result.selector = tokens;
  result.dims = tokens.constant() ? std::vector<SymExpr>{} : std::vector<SymExpr>{tokens};
  result.states.push_back(int64_t(op.getState()));
  PagedProblem problem(op, queries, kernel.getNumOperands());
  auto strategy = dyn_cast_or_null<strategy::AttentionAttr>(kernel.getStrategyAttr());
  problem.amx = strategy && strategy.getAmx();
  problem.inRanges = wantsRanges(op, problem, family.target);
  for (bool few : {true, false}) {
    if (family.target.isGpu() && !few) // more threads, not longer ones
      break;
    bool chooses = few && !family.target.isGpu() && !problem.inRanges; // between tokens and tiles
    problem.tileTokens = few && !chooses ? 1 : std::max<int64_t>(1, 64 / problem.group());
    problem.dealsRanges = few && problem.inRanges;
    problem.headsAtOnce = problem.tileTokens > 1 || chooses || family.target.isGpu() ? 1 : problem.kvHeads;
    KernelVariant variant{family.symbol + (few ? "_few" : "_many"), few && !family.target.isGpu() ? kFewTokens : 0, {}, {}};
    SymExpr tiles = few ? tokens : symbols.ceilDiv(tokens, symbols.constant(problem.tileTokens));
    variant.units = symbols.mul(tiles, symbols.constant(problem.kvHeads * (problem.dealsRanges ? AttentionShape::kMostRanges : 1)));
    KernelBuilder b(family.module, variant.symbol, symbols);
    int64_t scratch = chooses ? emitFewTokens(b, problem, family.target, b.dim(tokens)) : emitPagedAttention(b, problem, family.target, b.dim(tokens));
    variant.scratchBytes = symbols.constant(scratch);
    result.variants.push_back(variant);
    if (problem.dealsRanges) {
      KernelVariant join{family.symbol + "_join", variant.limit, symbols.mul(tokens, symbols.constant(problem.heads)), {}};
      KernelBuilder b(family.module, join.symbol, symbols);
      b.dim(tokens);
      join.scratchBytes = symbols.constant(emitJoinedRanges(b, problem, family.target));
      result.second = {join, {join.symbol, 0, symbols.constant(0), {}}}; // longer steps are done with their first stage
      result.sharedBytes = problem.sharedElements(kFewTokens) * 4;
    }
  }
  // What the cache adds depends on the lengths of the sequences, which are no symbols.
  int64_t floats = problem.heads * (problem.layout.keySize + problem.layout.valueSize);
  result.flops = symbols.mul(tokens, symbols.constant(2 * floats));
  if (problem.layout.inPairs() && family.target.bf16Dot)
    result.arithmetic = DType::BF16;
  result.bytesMoved = symbols.mul(tokens, symbols.constant(4 * floats));
  return result;
}

} // namespace llmopt::cpu
