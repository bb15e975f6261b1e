//===- CacheAppend.cpp - family "cache_append": keys and values to the cache -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A work unit is one head of one token of the step, numbered as in paged_attention (Stage::unitwise), or, where the step has many tokens, 16
// of them with all heads. Those of one sequence that begin a panel of keys are transposed together. Keys may be rotated on the way (llm.rope in
// the region).
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionRope.h"
#include "codegen/CPU/Bf16Words.h"
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

/// Steps of at most this many tokens are dealt out by their heads.
constexpr int64_t kFewTokens = 16;
/// Fewer tokens of a sequence are stored one by one.
constexpr int64_t kLeastTogether = 4;

class AppendWriter {
public:
  AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values, unsigned state,
               const Target &target);
  /// Units [begin, end) of a step of at most 16 tokens: heads of all tokens, numbered token by token.
  void few(Value begin, Value end, Value tokens);
  /// Heads [begin, end) of all tokens, numbered token by token.
  void heads(Value begin, Value end);
  /// Some heads of tokens [first, min(first + 16, tokens)).
  struct Heads {
    Value begin, end;
  };
  void panel(Value first, Value tokens, const Heads &heads);
  Heads allHeads() { return {b_.index(0), b_.index(layout_.kvHeads)}; }
  /// Rope table, then 16 tokens' heads (rotated) and a panel to be rounded.
  static int64_t scratchElements(const HeadsSource &keys, const CacheLayout &layout, int64_t lanes) {
    return HeadCopier::tableElements(keys, lanes) + (layout.kvHeads + 1) * layout.keyPanel();
  }
  const CacheLayout &layout() const { return layout_; }

private:
  void token(Value token, const Heads &heads);
  struct Place {
    Value block, slot; ///< address of the block, token in the block
    Value isLast;      ///< the sequence ends with this token
  };
  Place placeOf(const SequenceFields &sequence, Value token);
  Value headOf(Value block, Value head) { return b_.address(block, b_.mul(head, layout_.head()), element_); }
  Value keyAt(Value token, Value head) {
    return b_.address(keys_, b_.mul(b_.add(b_.mul(token, layout_.kvHeads), head), layout_.keySize), b_.f32());
  }
  void run(Value first, Value count, const Heads &heads);
  void together(Value first, Value count, const Place &place, const Heads &heads);
  void copyKeys(Value first, Value count, const Heads &heads);
  void wholeKeys(Value from, int64_t stride, Value panel);
  void storeKey(Value head, Value key, Value slot);
  void storeValue(Value cached, Value token, Value head, Value slot);
  void storeKeyPairs(Value head, Value key, Value slot);
  void storeHalfPairs(Value cached, Value token, Value head, const Place &place);
  void storeValuePairs(Value cached, Value token, Value head, Value slot);
  Value valueAt(Value token, Value head) {
    return b_.address(values_, b_.mul(b_.add(b_.mul(token, layout_.kvHeads), head), layout_.valueSize), b_.f32());
  }
  Value stored(Value x);
  KernelBuilder &b_;
  Bf16Words words_;
  CacheLayout layout_;
  Type element_; ///< of the cache
  Value keys_, values_, pool_, rotated_;
  bool rotates_;
  StepReader step_;
  HeadCopier copier_;
};

AppendWriter::AppendWriter(KernelBuilder &b, llm::CacheAppendOp op, const HeadsSource &keys, const HeadsSource &values,
                           unsigned state, const Target &target)
    : b_(b), words_(b, target.bf16Dot), keys_(b.buffer(cast<BlockArgument>(keys.argument).getArgNumber())),
      values_(b.buffer(cast<BlockArgument>(values.argument).getArgNumber())), pool_(b.buffer(state)),
      rotated_(b.address(b.scratch(), b.index(HeadCopier::tableElements(keys, target.vectorBits / 32)), b.f32())), rotates_(bool(keys.rope)),
      step_(b, op.getGroup()), 
      copier_(b, keys, cast<RankedTensorType>(op.getKey().getType()).getDimSize(2), target.vectorBits / 32, b.scratch()) {
  auto key = cast<RankedTensorType>(op.getKey().getType()), value = cast<RankedTensorType>(op.getValue().getType());
  layout_ = {key.getDimSize(1), key.getDimSize(2), value.getDimSize(2), cacheTypeOf(op)};
  element_ = layout_.dtype == DType::F16 ? Type(b.ops().getF16Type()) : layout_.inPairs() ? Type(b.ops().getIntegerType(16)) : b.f32();
}

/// As a cache in f32 or f16 keeps it. What f16 has no number for becomes its largest, since one infinity would spoil every later token; NaN stays.
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
  return {b_.address(pool_, b_.mul(block, layout_.block()), element_), b_.mod(position, kCacheBlockTokens),
          b_.equal(b_.add(position, 1), sequence.length)};
}

void AppendWriter::heads(Value begin, Value end) {
  Value kvHeads = b_.index(layout_.kvHeads);
  b_.forLoop(b_.floorDiv(begin, kvHeads), b_.floorDiv(b_.add(end, layout_.kvHeads - 1), kvHeads), 1, [&](Value token) {
    Value first = b_.mul(token, kvHeads);
    this->token(token, {b_.max(b_.sub(begin, first), b_.index(0)), b_.min(b_.sub(end, first), kvHeads)});
  });
}

void AppendWriter::few(Value begin, Value end, Value tokens) {
  // With a token of each sequence the attention behind may begin without a barrier, so units are dealt as there; else by heads.
  Value last = b_.max(b_.add(tokens, -1), b_.index(0)), divisor = b_.max(tokens, b_.index(1));
  auto headBehind = [&](Value unit) { return b_.floorDiv(b_.add(unit, last), divisor); };
  b_.ifThen(
      b_.less(step_.sequenceOf(last), last), [&] { panel(b_.index(0), tokens, {headBehind(begin), headBehind(end)}); }, [&] { heads(begin, end); });
}

void AppendWriter::token(Value token, const Heads &heads) {
  Place place = placeOf(step_.fields(step_.sequenceOf(token)), token);
  copier_.startToken(token);
  b_.forLoop(heads.begin, heads.end, 1, [&](Value head) {
    Value cached = headOf(place.block, head);
    copier_.copy(keyAt(token, head), rotated_, 1);
    if (layout_.inPairs()) {
      storeKeyPairs(cached, rotated_, place.slot);
      storeHalfPairs(cached, token, head, place);
      return;
    }
    storeKey(cached, rotated_, place.slot);
    storeValue(cached, token, head, place.slot);
  });
}

void AppendWriter::panel(Value first, Value tokens, const Heads &heads) {
  Value end = b_.min(b_.add(first, CacheLayout::kPanel), tokens);
  step_.forEachRun(first, end, [&](Value token, Value count) { run(token, count, heads); });
}

/// Tokens [first, first + count) of one sequence.
void AppendWriter::run(Value first, Value count, const Heads &heads) {
  Value last = b_.add(b_.add(first, count), -1), no = b_.constantInt(b_.ops().getI1Type(), 0);
  SequenceFields sequence = step_.fields(step_.sequenceOf(first));
  Place place = placeOf(sequence, first);
  Value aligned = b_.equal(b_.mod(place.slot, CacheLayout::kPanel), b_.index(0)), whole = b_.equal(count, b_.index(CacheLayout::kPanel));
  // The rest of the panel may be written to only if no token of this step belongs there.
  Value fills = b_.select(whole, whole, placeOf(sequence, last).isLast), enough = b_.less(b_.index(kLeastTogether - 1), count);
  b_.ifThen(
      b_.select(enough, b_.select(aligned, fills, no), no), [&] { together(first, count, place, heads); },
      [&] { b_.forLoop(first, b_.add(last, 1), 1, [&](Value token) { this->token(token, heads); }); });
}

/// At most 16 tokens of one sequence whose first stands at the begin of a panel, all of which they may overwrite.
void AppendWriter::together(Value first, Value count, const Place &place, const Heads &heads) {
  auto panelOf = [&](Value head) { return b_.address(headOf(place.block, head), b_.mul(place.slot, layout_.keyDepth()), element_); };
  auto copied = [&] {
    copyKeys(first, count, heads);
    b_.forLoop(heads.begin, heads.end, 1, [&](Value head) {
      wholeKeys(b_.address(rotated_, b_.mul(head, layout_.keyPanel()), b_.f32()), layout_.keySize, panelOf(head));
    });
  };
  auto asTheyLie = [&] {
    b_.forLoop(heads.begin, heads.end, 1, [&](Value head) { wholeKeys(keyAt(first, head), layout_.kvHeads * layout_.keySize, panelOf(head)); });
  };
  rotates_ ? copied() : b_.ifThen(b_.equal(count, b_.index(CacheLayout::kPanel)), asTheyLie, copied);
  int64_t step = layout_.inPairs() ? 2 : 1;
  Value whole = b_.sub(count, b_.mod(count, step)), odd = b_.less(whole, count);
  b_.forLoop(heads.begin, heads.end, 1, [&](Value head) {
    Value cached = headOf(place.block, head);
    b_.forLoop(b_.index(0), whole, step, [&](Value i) {
      Value token = b_.add(first, i), slot = b_.add(place.slot, i);
      layout_.inPairs() ? storeValuePairs(cached, token, head, slot) : storeValue(cached, token, head, slot);
    });
    if (layout_.inPairs()) // only the last token of a sequence can be alone
      b_.ifThen(odd, [&] { storeHalfPairs(cached, b_.add(first, whole), head, {place.block, b_.add(place.slot, whole), b_.constantInt(b_.ops().getI1Type(), 1)}); });
  });
}

/// Keys of tokens of one sequence, rotated, to scratch: [head][token][keySize].
void AppendWriter::copyKeys(Value first, Value count, const Heads &heads) {
  b_.forLoop(b_.index(0), count, 1, [&](Value i) {
    Value token = b_.add(first, i);
    copier_.startToken(token);
    b_.forLoop(heads.begin, heads.end, 1, [&](Value head) {
      copier_.copy(keyAt(token, head), b_.address(rotated_, b_.add(b_.mul(head, layout_.keyPanel()), b_.mul(i, layout_.keySize)), b_.f32()), 1);
    });
  });
}

/// 16 keys at `from` to a panel.
void AppendWriter::wholeKeys(Value from, int64_t stride, Value panel) {
  constexpr int64_t kPanel = CacheLayout::kPanel;
  int64_t size = layout_.keySize;
  bool asTheyAre = layout_.dtype == DType::F32;
  Value packed = asTheyAre ? panel : b_.address(rotated_, b_.index(layout_.kvHeads * layout_.keyPanel()), b_.f32());
  packTile(b_, kPanel, stride, b_.index(size), size, from, packed);
  if (asTheyAre)
    return;
  VectorType type = b_.vec(kPanel, b_.f32());
  auto feature = [&](Value i) { return b_.load(type, packed, b_.mul(i, kPanel)); };
  if (!layout_.inPairs())
    return b_.forLoop(b_.index(0), b_.index(size), 1, [&](Value i) { b_.store(stored(feature(i)), panel, b_.mul(i, kPanel)); });
  auto store = [&](Value pair, Value odd) { b_.store(words_.join(feature(b_.mul(pair, 2)), odd), panel, b_.mul(pair, kPanel)); };
  b_.forLoop(b_.index(0), b_.index(size / 2), 1, [&](Value pair) { store(pair, feature(b_.add(b_.mul(pair, 2), 1))); });
  if (size % 2)
    store(b_.index(size / 2), b_.constant(type, 0));
}

void AppendWriter::storeKey(Value head, Value key, Value slot) {
  Value column = b_.add(b_.mul(b_.floorDiv(slot, CacheLayout::kPanel), layout_.keyPanel()), b_.mod(slot, CacheLayout::kPanel));
  b_.forLoop(b_.index(0), b_.index(layout_.keySize), 1, [&](Value i) {
    b_.store(stored(b_.load(b_.f32(), key, i)), head, b_.add(column, b_.mul(i, CacheLayout::kPanel)));
  });
}

// Features 2i and 2i + 1 are halves of one word.
void AppendWriter::storeKeyPairs(Value head, Value key, Value slot) {
  constexpr int64_t kPanel = CacheLayout::kPanel;
  Value column = b_.add(b_.mul(b_.floorDiv(slot, kPanel), layout_.keyPanel()), b_.mul(b_.mod(slot, kPanel), 2));
  auto store = [&](Value half, Value pair, int64_t i) { b_.store(half, head, b_.add(b_.add(column, b_.mul(pair, 2 * kPanel)), i)); };
  auto feature = [&](Value pair, int64_t i) { return words_.round(b_.load(b_.f32(), key, b_.add(b_.mul(pair, 2), i))); };
  b_.forLoop(b_.index(0), b_.index(layout_.keySize / 2), 1, [&](Value pair) {
    for (int64_t i : {0, 1})
      store(feature(pair, i), pair, i);
  });
  if (layout_.keySize % 2 == 0)
    return;
  Value last = b_.index(layout_.keySize / 2);
  store(feature(last, 0), last, 0);
  store(b_.constantInt(element_, 0), last, 1);
}

// Two tokens are halves of one word, and another thread may write the other half. Behind the last token a weight of zero will be
// multiplied with what lies there, so that must be a number.
void AppendWriter::storeHalfPairs(Value cached, Value token, Value head, const Place &place) {
  constexpr int64_t kPanel = CacheLayout::kPanel;
  Value to = b_.address(cached, b_.index(layout_.keysOfHead()), element_), value = valueAt(token, head), half = b_.mod(place.slot, 2);
  Value row = b_.mul(b_.sub(place.slot, half), kPanel);
  auto each = [&](function_ref<void(Value at, Value i)> body) {
    b_.forLoop(b_.index(0), b_.index(layout_.valueSize), 1, [&](Value i) {
      Value panel = b_.mul(b_.floorDiv(i, kPanel), layout_.valuePanel());
      body(b_.add(b_.add(panel, row), b_.mul(b_.mod(i, kPanel), 2)), i);
    });
  };
  each([&](Value at, Value i) { b_.store(words_.round(b_.load(b_.f32(), value, i)), to, b_.add(at, half)); });
  Value isEven = b_.equal(half, b_.index(0)), no = b_.constantInt(b_.ops().getI1Type(), 0);
  b_.ifThen(b_.select(place.isLast, isEven, no), [&] { each([&](Value at, Value) { b_.store(b_.constantInt(element_, 0), to, b_.add(at, 1)); }); });
}

/// Two tokens that share their words.
void AppendWriter::storeValuePairs(Value cached, Value token, Value head, Value slot) {
  Value to = b_.address(cached, b_.add(b_.mul(slot, CacheLayout::kPanel), layout_.keysOfHead()), element_);
  words_.joinRows(valueAt(token, head), valueAt(b_.add(token, 1), head), to, layout_.valueSize, layout_.valuePanel() / 2);
}

void AppendWriter::storeValue(Value cached, Value token, Value head, Value slot) {
  Value to = b_.address(cached, b_.index(layout_.keysOfHead()), element_), value = valueAt(token, head);
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
  int64_t kvHeads = cast<RankedTensorType>(op.getKey().getType()).getDimSize(1);
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
    AppendWriter writer(b, op, keys, values, kernel.getNumOperands(), family.target);
    variant.scratchBytes = symbols.constant(AppendWriter::scratchElements(keys, writer.layout(), family.target.vectorBits / 32) * 4);
    if (family.target.isGpu())
      writer.heads(b.unitBegin(), b.unitEnd());
    else if (few)
      writer.few(b.unitBegin(), b.unitEnd(), count);
    else
      b.forEachUnit([&](Value unit) { writer.panel(b.mul(unit, CacheLayout::kPanel), count, writer.allHeads()); });
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
