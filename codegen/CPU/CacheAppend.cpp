//===- CacheAppend.cpp - family "cache_append": keys and values to the cache -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A work unit is one token of the step with all its heads. Keys may be rotated on the way (llm.rope in the region).
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionRope.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/KernelFamily.h"
#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/CacheType.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class AppendWriter {
public:
  AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values, unsigned state,
               int64_t lanes);
  void token(Value token);
  /// Rope table, then one rotated head.
  static int64_t scratchElements(const HeadsSource &keys, int64_t keySize, int64_t lanes) {
    return HeadCopier::tableElements(keys, lanes) + (keySize + 15) / 16 * 16;
  }

private:
  void storeKey(Value head, Value key, Value slot);
  void storeValue(Value head, Value value, Value slot);
  Value stored(Value x);
  KernelBuilder &b_;
  CacheLayout layout_;
  Type element_; ///< of the cache
  Value keys_, values_, pool_, head_;
  StepReader step_;
  HeadCopier copier_;
};

AppendWriter::AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values,
                           unsigned state, int64_t lanes)
    : b_(b), keys_(b.buffer(cast<BlockArgument>(keys.argument).getArgNumber())),
      values_(b.buffer(cast<BlockArgument>(values.argument).getArgNumber())), pool_(b.buffer(state)),
      head_(b.address(b.scratch(), b.index(HeadCopier::tableElements(keys, lanes)), b.f32())), step_(b, op.getGroup()),
      copier_(b, keys, cast<RankedTensorType>(op.getKey().getType()).getDimSize(2), lanes, b.scratch()) {
  auto key = cast<RankedTensorType>(op.getKey().getType()), value = cast<RankedTensorType>(op.getValue().getType());
  layout_ = {key.getDimSize(1), key.getDimSize(2), value.getDimSize(2), cacheTypeOf(op)};
  element_ = layout_.dtype == DType::F16 ? Type(b.ops().getF16Type()) : b.f32();
}

/// As the cache keeps it. What f16 has no number for becomes its largest, since one infinity would spoil every later token; NaN stays.
Value AppendWriter::stored(Value x) {
  if (layout_.dtype == DType::F32)
    return x;
  constexpr double kLargest = 65504;
  Type type = x.getType();
  Value bounded = b_.fmax(b_.constant(type, -kLargest), b_.fmin(b_.constant(type, kLargest), x));
  auto vector = dyn_cast<VectorType>(type);
  return arith::TruncFOp::create(b_.ops(), b_.loc(), vector ? Type(b_.vec(vector.getNumElements(), element_)) : element_, bounded);
}

void AppendWriter::token(Value token) {
  SequenceFields sequence = step_.fields(step_.sequenceOf(token));
  Value position = b_.sub(b_.add(sequence.past, token), sequence.first);
  Value block = step_.block(sequence, b_.floorDiv(position, kCacheBlockTokens)), slot = b_.mod(position, kCacheBlockTokens);
  copier_.startToken(token);
  b_.forLoop(b_.index(0), b_.index(layout_.kvHeads), 1, [&](Value head) {
    Value row = b_.add(b_.mul(token, layout_.kvHeads), head);
    Value cached = b_.address(pool_, b_.add(b_.mul(block, layout_.block()), b_.mul(head, layout_.head())), element_);
    copier_.copy(b_.address(keys_, b_.mul(row, layout_.keySize), b_.f32()), head_, 1);
    storeKey(cached, head_, slot);
    storeValue(b_.address(cached, b_.index(layout_.keysOfHead()), element_),
               b_.address(values_, b_.mul(row, layout_.valueSize), b_.f32()), slot);
  });
}

void AppendWriter::storeKey(Value head, Value key, Value slot) {
  Value column = b_.add(b_.mul(b_.floorDiv(slot, CacheLayout::kPanel), layout_.keyPanel()), b_.mod(slot, CacheLayout::kPanel));
  b_.forLoop(b_.index(0), b_.index(layout_.keySize), 1, [&](Value i) {
    b_.store(stored(b_.load(b_.f32(), key, i)), head, b_.add(column, b_.mul(i, CacheLayout::kPanel)));
  });
}

void AppendWriter::storeValue(Value head, Value value, Value slot) {
  VectorType type = b_.vec(CacheLayout::kPanel, b_.f32());
  int64_t whole = layout_.valueSize / CacheLayout::kPanel, rest = layout_.valueSize % CacheLayout::kPanel;
  Value place = b_.mul(slot, CacheLayout::kPanel);
  auto panelAt = [&](Value panel) { return b_.add(b_.mul(panel, layout_.valuePanel()), place); };
  b_.forLoop(b_.index(0), b_.index(whole), 1, [&](Value panel) {
    b_.store(stored(b_.load(type, value, b_.mul(panel, CacheLayout::kPanel))), head, panelAt(panel));
  });
  b_.forLoop(b_.index(0), b_.index(rest), 1, [&](Value i) {
    Value from = b_.add(i, whole * CacheLayout::kPanel);
    b_.store(stored(b_.load(b_.f32(), value, from)), head, b_.add(panelAt(b_.index(whole)), i));
  });
}

Status checkAppend(llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values) {
  if (!keys.argument || !values.argument || values.rope)
    return unsupported("E0950", "a cache kernel computes more than rotary positions and changes of shape");
  for (Value heads : {op.getKey(), op.getValue()}) {
    auto type = cast<RankedTensorType>(heads.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(2))
      return unsupported("E0951", "cache kernels take f32 heads of static number and size");
  }
  return {};
}

} // namespace

namespace llmopt::cpu {

Result<LoweredKernel> lowerCacheAppend(exec::KernelOp kernel, FamilyContext &family) {
  auto appends = kernel.getBody().getOps<llm::CacheAppendOp>();
  if (!llvm::hasSingleElement(appends) || kernel.getNumResults() != 0)
    return unsupported("E0952", "a cache kernel appends to one state and has no results");
  llm::CacheAppendOp op = *appends.begin();
  HeadsSource keys = traceHeads(op.getKey()), values = traceHeads(op.getValue());
  LLMOPT_RETURN_IF_ERROR(checkAppend(op, keys, values));
  SymExpr tokens = family.shapes.shapeOf(op.getKey()).dims.front();
  if (!tokens.known())
    return unsupported("E0953", "the number of tokens of a step is not known");
  int64_t lanes = family.target.vectorBits / 32, keySize = cast<RankedTensorType>(op.getKey().getType()).getDimSize(2);
  SymContext &symbols = family.shapes.symbols();
  KernelVariant variant{family.symbol, 0, tokens, {}};
  variant.scratchBytes = symbols.constant(AppendWriter::scratchElements(keys, keySize, lanes) * 4);
  KernelBuilder b(family.module, variant.symbol, symbols);
  AppendWriter writer(b, op, keys, values, kernel.getNumOperands(), lanes);
  b.forEachUnit([&](Value token) { writer.token(token); });
  expandHalfConversions(family.module, family.target);
  LoweredKernel result;
  result.variants.push_back(variant);
  result.states.push_back(int64_t(op.getState()));
  result.flops = symbols.constant(0);
  auto key = cast<RankedTensorType>(op.getKey().getType()), value = cast<RankedTensorType>(op.getValue().getType());
  int64_t floats = key.getDimSize(1) * key.getDimSize(2) + value.getDimSize(1) * value.getDimSize(2);
  result.bytesMoved = symbols.mul(tokens, symbols.constant(int64_t(4 + dtypeSize(cacheTypeOf(op))) * floats));
  return result;
}

} // namespace llmopt::cpu
