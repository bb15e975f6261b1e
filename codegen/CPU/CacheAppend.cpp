//===- CacheAppend.cpp - family "cache_append": keys and values to the cache -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A work unit is one head of one token of the step, numbered as in paged_attention (Stage::unitwise), or, where the step has many tokens, 16
// of them with all heads: those that fill a panel of keys are transposed together. Keys may be rotated on the way (llm.rope in the region).
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionRope.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/KernelFamily.h"
#include "codegen/CPU/LinearPacking.h"
#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/CacheType.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Steps of at most this many tokens are dealt out token by token.
constexpr int64_t kFewTokens = 16;

class AppendWriter {
public:
  AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values, unsigned state,
               int64_t lanes);
  /// Heads [begin, end) of all tokens, numbered token by token.
  void heads(Value begin, Value end);
  /// Tokens [first, min(first + 16, tokens)).
  void panel(Value first, Value tokens);
  /// Rope table, then one rotated head, or 16 tokens' rotated heads and a panel to be rounded.
  static int64_t scratchElements(const HeadsSource &keys, const CacheLayout &layout, int64_t lanes, bool few) {
    return HeadCopier::tableElements(keys, lanes) + (few ? (layout.keySize + 15) / 16 * 16 : (layout.kvHeads + 1) * layout.keyPanel());
  }
  const CacheLayout &layout() const { return layout_; }

private:
  void token(Value token, Value begin, Value end);
  struct Place {
    Value block, slot; ///< address of the block, token in the block
  };
  Place placeOf(const SequenceFields &sequence, Value token);
  Value headOf(Value block, Value head) { return b_.address(block, b_.mul(head, layout_.head()), element_); }
  Value keyAt(Value token, Value head) {
    return b_.address(keys_, b_.mul(b_.add(b_.mul(token, layout_.kvHeads), head), layout_.keySize), b_.f32());
  }
  void wholePanel(Value first, const Place &place);
  void storeKey(Value head, Value key, Value slot);
  void storeValue(Value cached, Value token, Value head, Value slot);
  Value stored(Value x);
  KernelBuilder &b_;
  CacheLayout layout_;
  Type element_; ///< of the cache
  Value keys_, values_, pool_, rotated_;
  bool rotates_;
  StepReader step_;
  HeadCopier copier_;
};

AppendWriter::AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values,
                           unsigned state, int64_t lanes)
    : b_(b), keys_(b.buffer(cast<BlockArgument>(keys.argument).getArgNumber())),
      values_(b.buffer(cast<BlockArgument>(values.argument).getArgNumber())), pool_(b.buffer(state)),
      rotated_(b.address(b.scratch(), b.index(HeadCopier::tableElements(keys, lanes)), b.f32())), rotates_(bool(keys.rope)),
      step_(b, op.getGroup()), copier_(b, keys, cast<RankedTensorType>(op.getKey().getType()).getDimSize(2), lanes, b.scratch()) {
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

AppendWriter::Place AppendWriter::placeOf(const SequenceFields &sequence, Value token) {
  Value position = b_.sub(b_.add(sequence.past, token), sequence.first);
  Value block = step_.block(sequence, b_.floorDiv(position, kCacheBlockTokens));
  return {b_.address(pool_, b_.mul(block, layout_.block()), element_), b_.mod(position, kCacheBlockTokens)};
}

void AppendWriter::heads(Value begin, Value end) {
  Value kvHeads = b_.index(layout_.kvHeads);
  b_.forLoop(b_.floorDiv(begin, kvHeads), b_.floorDiv(b_.add(end, layout_.kvHeads - 1), kvHeads), 1, [&](Value token) {
    Value first = b_.mul(token, kvHeads);
    this->token(token, b_.max(b_.sub(begin, first), b_.index(0)), b_.min(b_.sub(end, first), kvHeads));
  });
}

void AppendWriter::token(Value token, Value begin, Value end) {
  Place place = placeOf(step_.fields(step_.sequenceOf(token)), token);
  copier_.startToken(token);
  b_.forLoop(begin, end, 1, [&](Value head) {
    Value cached = headOf(place.block, head);
    copier_.copy(keyAt(token, head), rotated_, 1);
    storeKey(cached, rotated_, place.slot);
    storeValue(cached, token, head, place.slot);
  });
}

void AppendWriter::panel(Value first, Value tokens) {
  Value end = b_.min(b_.add(first, CacheLayout::kPanel), tokens), last = b_.add(end, -1);
  Value sequence = step_.sequenceOf(first), count = b_.sub(end, first);
  Place place = placeOf(step_.fields(sequence), first);
  Value same = b_.equal(step_.sequenceOf(last), sequence), aligned = b_.equal(b_.mod(place.slot, CacheLayout::kPanel), b_.index(0));
  Value no = b_.constantInt(b_.ops().getI1Type(), 0), whole = b_.equal(count, b_.index(CacheLayout::kPanel));
  b_.ifThen(
      b_.select(whole, b_.select(aligned, same, no), no), [&] { wholePanel(first, place); },
      [&] { b_.forLoop(first, end, 1, [&](Value token) { this->token(token, b_.index(0), b_.index(layout_.kvHeads)); }); });
}

/// 16 tokens of one sequence whose first stands at the begin of a panel.
void AppendWriter::wholePanel(Value first, const Place &place) {
  int64_t heads = layout_.kvHeads, stride = rotates_ ? layout_.keySize : heads * layout_.keySize;
  auto source = [&](Value head) {
    return rotates_ ? b_.address(rotated_, b_.mul(head, layout_.keyPanel()), b_.f32()) : keyAt(first, head);
  };
  auto each = [&](int64_t count, function_ref<void(Value)> body) { b_.forLoop(b_.index(0), b_.index(count), 1, body); };
  if (rotates_)
    each(CacheLayout::kPanel, [&](Value i) {
      Value token = b_.add(first, i);
      copier_.startToken(token);
      each(heads, [&](Value head) { copier_.copy(keyAt(token, head), b_.address(source(head), b_.mul(i, stride), b_.f32()), 1); });
    });
  each(heads, [&](Value head) {
    Value cached = headOf(place.block, head);
    Value panel = b_.address(cached, b_.mul(place.slot, layout_.keySize), element_), packed = panel;
    if (layout_.dtype != DType::F32)
      packed = b_.address(rotated_, b_.index(heads * layout_.keyPanel()), b_.f32());
    packTile(b_, CacheLayout::kPanel, stride, b_.index(layout_.keySize), layout_.keySize, source(head), packed);
    if (packed != panel)
      each(layout_.keySize, [&](Value i) {
        Value at = b_.mul(i, CacheLayout::kPanel);
        b_.store(stored(b_.load(b_.vec(CacheLayout::kPanel, b_.f32()), packed, at)), panel, at);
      });
    each(CacheLayout::kPanel, [&](Value i) { storeValue(cached, b_.add(first, i), head, b_.add(place.slot, i)); });
  });
}

void AppendWriter::storeKey(Value head, Value key, Value slot) {
  Value column = b_.add(b_.mul(b_.floorDiv(slot, CacheLayout::kPanel), layout_.keyPanel()), b_.mod(slot, CacheLayout::kPanel));
  b_.forLoop(b_.index(0), b_.index(layout_.keySize), 1, [&](Value i) {
    b_.store(stored(b_.load(b_.f32(), key, i)), head, b_.add(column, b_.mul(i, CacheLayout::kPanel)));
  });
}

void AppendWriter::storeValue(Value cached, Value token, Value head, Value slot) {
  Value to = b_.address(cached, b_.index(layout_.keysOfHead()), element_);
  Value value = b_.address(values_, b_.mul(b_.add(b_.mul(token, layout_.kvHeads), head), layout_.valueSize), b_.f32());
  VectorType type = b_.vec(CacheLayout::kPanel, b_.f32());
  int64_t whole = layout_.valueSize / CacheLayout::kPanel, rest = layout_.valueSize % CacheLayout::kPanel;
  Value place = b_.mul(slot, CacheLayout::kPanel);
  auto panelAt = [&](Value panel) { return b_.add(b_.mul(panel, layout_.valuePanel()), place); };
  b_.forLoop(b_.index(0), b_.index(whole), 1, [&](Value panel) {
    b_.store(stored(b_.load(type, value, b_.mul(panel, CacheLayout::kPanel))), to, panelAt(panel));
  });
  b_.forLoop(b_.index(0), b_.index(rest), 1, [&](Value i) {
    Value from = b_.add(i, whole * CacheLayout::kPanel);
    b_.store(stored(b_.load(b_.f32(), value, from)), to, b_.add(panelAt(b_.index(whole)), i));
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
  int64_t lanes = family.target.vectorBits / 32, kvHeads = cast<RankedTensorType>(op.getKey().getType()).getDimSize(1);
  SymContext &symbols = family.shapes.symbols();
  LoweredKernel result;
  result.selector = tokens;
  result.dims = tokens.constant() ? std::vector<SymExpr>{} : std::vector<SymExpr>{tokens};
  for (bool few : {true, false}) {
    if (family.target.isGpu() && !few) // more threads, not longer ones
      break;
    KernelVariant variant{family.symbol + (few ? "_few" : "_many"), few && !family.target.isGpu() ? kFewTokens : 0, {}, {}};
    variant.units = few ? symbols.mul(tokens, symbols.constant(kvHeads)) : symbols.ceilDiv(tokens, symbols.constant(CacheLayout::kPanel));
    KernelBuilder b(family.module, variant.symbol, symbols);
    Value count = b.dim(tokens);
    AppendWriter writer(b, op, keys, values, kernel.getNumOperands(), lanes);
    variant.scratchBytes = symbols.constant(AppendWriter::scratchElements(keys, writer.layout(), lanes, few) * 4);
    if (few)
      writer.heads(b.unitBegin(), b.unitEnd());
    else
      b.forEachUnit([&](Value unit) { writer.panel(b.mul(unit, CacheLayout::kPanel), count); });
    result.variants.push_back(variant);
  }
  expandHalfConversions(family.module, family.target);
  result.states.push_back(int64_t(op.getState()));
  result.flops = symbols.constant(0);
  auto key = cast<RankedTensorType>(op.getKey().getType()), value = cast<RankedTensorType>(op.getValue().getType());
  int64_t floats = key.getDimSize(1) * key.getDimSize(2) + value.getDimSize(1) * value.getDimSize(2);
  result.bytesMoved = symbols.mul(tokens, symbols.constant(int64_t(4 + dtypeSize(cacheTypeOf(op))) * floats));
  return result;
}

} // namespace llmopt::cpu
