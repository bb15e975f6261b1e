//===- AttentionDense.cpp - attention over padded batches -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys and values lie row by row, so each block of 64 keys is first copied into panels (keys transposed; both rounded where products are
// of bf16), which the rows of a tile of queries then share.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionDense.h"

#include "codegen/CPU/AttentionRope.h"
#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/LinearEpilogue.h"
#include "codegen/CPU/LinearPacking.h"
#include "codegen/CPU/MathApproximation.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

using Values = KernelBuilder::Values;
constexpr int64_t kKeys = AttentionShape::kKeys;

AttentionShape shapeOf(const DenseProblem &problem, const Target &target) {
  PanelFormat cached = problem.bf16Products ? PanelFormat::BF16Dot : PanelFormat::Plain;
  return AttentionShape::forTarget(problem.keySize, problem.valueSize, problem.tileTokens() * problem.group(), cached, target, problem.amx);
}

/// Floats or words of the panels of a block.
int64_t keyElements(const AttentionShape &shape) { return kKeys * shape.keySteps(); }
int64_t valueElements(const AttentionShape &shape) { return shape.valuePanels() * shape.blockSteps() * 16; }

class DenseWriter {
public:
  DenseWriter(KernelBuilder &b, const DenseProblem &problem, const Target &target, SymContext &symbols);
  void unit(Value unit);
  int64_t scratchBytes() const { return (coreAt_ + AttentionCore::scratchElements(shape_, target_)) * 4; }

private:
  void startRow(Value batch, Value head, Value token, Value row);
  struct Block {
    Value keys, values;             ///< its first rows
    Value keyPanels, valuePanels;   ///< where its panels are to lie
    Value count;                    ///< of its keys
  };
  void packBlock(const Block &block);
  void packPairs(const Block &block);
  void setRules();
  Value masked(Value scores, Value offset, Value key, Value count);
  Value maskElements(Value offset, Value key, Value count);
  Value part(int64_t offset) { return b_.address(b_.scratch(), b_.index(offset), b_.f32()); }
  Value fact(Value row) { return b_.address(part(factsAt_), row, b_.i64()); }
  Value base(Value argument) { return b_.buffer(bindingOf(argument)); }
  /// The first row of a head.
  Value head(const DenseRows &rows, Value batch, Value head) {
    Value place = b_.add(b_.add(b_.dim(rows.offset), b_.mul(batch, b_.dim(rows.batch))), b_.mul(head, b_.dim(rows.head)));
    return b_.address(b_.buffer(rows.binding), place, b_.f32());
  }
  /// The last key (exclusive) that query `token` sees, and the first.
  Value high(Value token);
  Value low(Value token);

  KernelBuilder &b_;
  const DenseProblem &problem_;
  const Target &target_;
  SymContext &symbols_;
  llm::AttentionOp op_;
  AttentionShape shape_;
  int64_t keysAt_ = 0, valuesAt_, rowsAt_, factsAt_, coreAt_; ///< in scratch; rows: rounded keys of a block
  AttentionCore core_;
  double base_ = 1; ///< log2 e where scores are in base 2
  Value queries_, keys_;
};

DenseWriter::DenseWriter(KernelBuilder &b, const DenseProblem &problem, const Target &target, SymContext &symbols)
    : b_(b), problem_(problem), target_(target), symbols_(symbols), op_(problem.op),
      shape_(shapeOf(problem, target)), valuesAt_(shape_.blocks * keyElements(shape_)), rowsAt_(valuesAt_ + shape_.blocks * valueElements(shape_)),
      factsAt_(rowsAt_ + (shape_.inPairs() ? keyElements(shape_) : 0)),
      coreAt_(factsAt_ + (2 * shape_.maxRows + 15) / 16 * 16), core_(b, shape_, target, b.address(b.scratch(), b.index(coreAt_), b.f32())),
      queries_(b.dim(problem.queries)), keys_(b.dim(problem.keys)) {
  setRules();
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

Value DenseWriter::high(Value token) {
  if (!op_.getCausal())
    return keys_;
  Value seen = b_.add(b_.add(token, b_.sub(keys_, queries_)), 1);
  return b_.max(b_.min(seen, keys_), b_.index(0));
}

Value DenseWriter::low(Value token) {
  int64_t window = int64_t(op_.getWindow());
  if (window <= 0)
    return b_.index(0);
  return b_.max(b_.add(b_.add(token, b_.sub(keys_, queries_)), 1 - window), b_.index(0));
}

/// Mask elements of keys [key, key + lanes), of which `count` exist.
Value DenseWriter::maskElements(Value offset, Value key, Value count) {
  Type element = getElementTypeOrSelf(problem_.mask.getType());
  VectorType type = b_.vec(shape_.lanes, registerType(element));
  if (problem_.maskDims.empty() || problem_.maskDims.back().isConstant(1))
    return b_.splat(loadElements(b_, element, 0, base(problem_.mask), offset), type);
  Value place = b_.add(offset, key);
  return b_.ifThen(
      b_.less(count, b_.index(shape_.lanes)), TypeRange{type},
      [&] { return Values{loadElements(b_, element, shape_.lanes, base(problem_.mask), place, b_.max(count, b_.index(0)))}; },
      [&] { return Values{loadElements(b_, element, shape_.lanes, base(problem_.mask), place)}; })[0];
}

// A float mask is added; minus infinity and false hide a key.
Value DenseWriter::masked(Value scores, Value offset, Value key, Value count) {
  Value mask = maskElements(offset, key, count), hidden = b_.constant(scores.getType(), -INFINITY);
  if (getElementTypeOrSelf(mask.getType()).isInteger(1))
    return b_.select(mask, scores, hidden);
  if (getElementTypeOrSelf(mask.getType()).isF64())
    mask = arith::TruncFOp::create(b_.ops(), b_.loc(), scores.getType(), mask);
  Value sum = b_.fadd(scores, mask);
  Value isHidden = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::OEQ, mask, hidden);
  return b_.select(isHidden, hidden, sum);
}

void DenseWriter::setRules() {
  double cap = op_.getSoftcap().convertToDouble();
  core_.baseE = problem_.mask && !getElementTypeOrSelf(problem_.mask.getType()).isInteger(1);
  base_ = core_.baseE ? 1 : kLog2E;
  if (cap <= 0 && !problem_.mask)
    return;
  core_.loadRow = [this](Value row) { return Values{b_.load(b_.i64(), fact(row), b_.index(0))}; };
  core_.adjust = [this, cap](Value scores, ValueRange row, Value key, Value count) {
    if (cap > 0)
      scores = b_.fmul(emitMath(b_, ScalarFunctionId::Tanh, scores), b_.constant(scores.getType(), cap * base_));
    return problem_.mask ? masked(scores, row[0], key, count) : scores;
  };
}

//===----------------------------------------------------------------------===//
// Work units
//===----------------------------------------------------------------------===//

void DenseWriter::startRow(Value batch, Value head, Value token, Value row) {
  double cap = op_.getSoftcap().convertToDouble(), scale = op_.getScale().convertToDouble();
  Value index = b_.add(b_.mul(b_.add(b_.mul(batch, problem_.heads), head), queries_), token);
  HeadCopier copier(b_, {}, shape_.keySize, shape_.lanes, b_.scratch());
  Value from = b_.address(this->head(problem_.query, batch, head), b_.mul(token, problem_.query.token), b_.f32());
  copier.copy(from, core_.query(row), cap > 0 ? scale / cap : scale * base_);
  core_.startRow(row, low(token), high(token));
  if (!problem_.mask || problem_.maskDims.empty()) {
    b_.store(b_.index(0), fact(row), b_.index(0));
    return;
  }
  SymExpr leading[] = {problem_.batch, symbols_.constant(problem_.heads), problem_.queries};
  ArrayRef<SymExpr> own = ArrayRef(problem_.maskDims).drop_back();
  b_.store(broadcastOffset(b_, index, leading, own, b_.dim(problem_.maskDims.back())), fact(row), b_.index(0));
}

/// Copies keys and values into panels.
void DenseWriter::packBlock(const Block &block) {
  if (shape_.inPairs())
    return packPairs(block);
  int64_t keySize = shape_.keySize, valueSize = shape_.valueSize, whole = valueSize / 16 * 16;
  int64_t keyStride = problem_.key.token, valueStride = problem_.value.token;
  Value panels = b_.mul(b_.floorDiv(block.count, 16), 16);
  b_.forLoop(b_.index(0), panels, 16, [&](Value first) {
    packTile(b_, 16, keyStride, b_.index(keySize), keySize, b_.address(block.keys, b_.mul(first, keyStride), b_.f32()),
             b_.address(block.keyPanels, b_.mul(first, keySize), b_.f32()));
  });
  b_.forLoop(panels, block.count, 1, [&](Value row) {
    Value column = b_.add(b_.mul(panels, keySize), b_.sub(row, panels));
    b_.forLoop(b_.index(0), b_.index(keySize), 1, [&](Value i) {
      b_.store(b_.load(b_.f32(), block.keys, b_.add(b_.mul(row, keyStride), i)), block.keyPanels, b_.add(column, b_.mul(i, 16)));
    });
  });
  b_.forLoop(b_.index(0), block.count, 1, [&](Value row) {
    Value from = b_.address(block.values, b_.mul(row, valueStride), b_.f32());
    Value to = b_.address(block.valuePanels, b_.mul(row, 16), b_.f32());
    VectorType type = b_.vec(16, b_.f32());
    b_.forLoop(b_.index(0), b_.index(whole), 16, [&](Value i) { b_.store(b_.load(type, from, i), to, b_.mul(i, kKeys)); });
    b_.forLoop(b_.index(whole), b_.index(valueSize), 1, [&](Value i) {
      b_.store(b_.load(b_.f32(), from, i), to, b_.add(b_.sub(i, b_.index(whole)), whole * kKeys));
    });
  });
}

// What lies behind the last key is masked as a score, but as a value it is multiplied with zero.
void DenseWriter::packPairs(const Block &block) {
  Bf16Words words(b_, shape_.hasBf16Dot);
  int64_t steps = shape_.keySteps(), valueStride = problem_.value.token;
  Value rows = part(rowsAt_), two = b_.index(2);
  b_.forLoop(b_.index(0), block.count, 1, [&](Value row) {
    words.roundRow(b_.address(block.keys, b_.mul(row, problem_.key.token), b_.f32()), b_.address(rows, b_.mul(row, steps), b_.f32()), shape_.keySize, shape_.lanes);
  });
  b_.forLoop(b_.index(0), block.count, 16, [&](Value first) {
    Value offset = b_.mul(first, steps);
    packTile(b_, 16, steps, b_.index(steps), steps, b_.address(rows, offset, b_.f32()), b_.address(block.keyPanels, offset, b_.f32()));
  });
  auto values = [&](Value pair, bool both) {
    Value even = b_.address(block.values, b_.mul(pair, 2 * valueStride), b_.f32()), odd = both ? b_.address(even, b_.index(valueStride), b_.f32()) : Value();
    words.joinRows(even, odd, b_.address(block.valuePanels, b_.mul(pair, 16), b_.f32()), shape_.valueSize, shape_.blockSteps() * 16);
  };
  Value pairs = b_.floorDiv(block.count, two);
  b_.forLoop(b_.index(0), pairs, 1, [&](Value pair) { values(pair, /*both=*/true); });
  b_.ifThen(b_.equal(b_.mod(block.count, two), b_.index(1)), [&] { values(pairs, /*both=*/false); });
}

void DenseWriter::unit(Value unit) {
  int64_t tile = problem_.tileTokens(), group = problem_.group();
  Value tiles = b_.floorDiv(b_.add(queries_, tile - 1), tile);
  Value begin = b_.mul(b_.mod(unit, tiles), tile), rest = b_.floorDiv(unit, tiles);
  Value kvHead = b_.mod(rest, problem_.kvHeads), batch = b_.floorDiv(rest, problem_.kvHeads);
  Value tokens = b_.min(b_.sub(queries_, begin), b_.index(tile));
  auto eachRow = [&](function_ref<void(Value token, Value head, Value row)> body) {
    b_.forLoop(b_.index(0), tokens, 1, [&](Value token) {
      b_.forLoop(b_.index(0), b_.index(group), 1, [&](Value i) {
        body(b_.add(begin, token), b_.add(b_.mul(kvHead, group), i), b_.add(b_.mul(token, group), i));
      });
    });
  };
  core_.begin();
  eachRow([&](Value token, Value head, Value row) { startRow(batch, head, token, row); });
  Value keys = head(problem_.key, batch, kvHead), values = head(problem_.value, batch, kvHead);
  Value first = low(begin), last = high(b_.add(begin, b_.add(tokens, -1)));
  b_.forLoop(b_.floorDiv(first, shape_.span()), b_.floorDiv(b_.add(last, shape_.span() - 1), shape_.span()), 1, [&](Value index) {
    KeySpan span{[&](Value block) { return b_.address(part(keysAt_), b_.mul(block, keyElements(shape_)), b_.f32()); },
                 [&](Value block) { return b_.address(part(valuesAt_), b_.mul(block, valueElements(shape_)), b_.f32()); },
                 b_.mul(index, shape_.span()), {}};
    span.count = b_.min(b_.sub(last, span.key), b_.index(shape_.span()));
    span.firstBlock = b_.floorDiv(b_.max(b_.sub(first, span.key), b_.index(0)), kKeys);
    b_.forLoop(span.firstBlock, b_.floorDiv(b_.add(span.count, kKeys - 1), kKeys), 1, [&](Value block) {
      Value before = b_.mul(block, kKeys), key = b_.add(span.key, before);
      packBlock({b_.address(keys, b_.mul(key, problem_.key.token), b_.f32()), b_.address(values, b_.mul(key, problem_.value.token), b_.f32()), span.keys(block),
                 span.values(block), b_.min(b_.sub(span.count, before), b_.index(kKeys))});
    });
    core_.span(b_.index(0), b_.mul(tokens, group), span);
  });
  core_.end();
  eachRow([&](Value token, Value head, Value row) {
    core_.finishRow(row, b_.address(this->head(problem_.output, batch, head), b_.mul(token, problem_.output.token), b_.f32()));
  });
}

} // namespace

int64_t cpu::emitDenseAttention(KernelBuilder &b, const DenseProblem &problem, const Target &target, SymContext &symbols) {
  DenseWriter writer(b, problem, target, symbols);
  b.forEachUnit([&](Value unit) { writer.unit(unit); });
  return writer.scratchBytes();
}
