//===- AttentionCore.cpp - online softmax over blocks of keys -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionCore.h"

#include "codegen/CPU/MathApproximationF32.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

#include <cfloat>
#include <cmath>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kKeys = AttentionShape::kKeys;

AttentionShape AttentionShape::forTarget(int64_t keySize, int64_t valueSize, int64_t rows, PanelFormat cached, const Target &target, bool tiles) {
  bool manyRegisters = target.vectorRegisters >= 32;
  AttentionShape shape;
  shape.keySize = keySize;
  shape.valueSize = valueSize;
  shape.maxRows = rows;
  shape.lanes = target.vectorBits / 32;
  shape.cached = cached;
  shape.hasF16Conversion = llvm::is_contained(target.features, "f16c");
  shape.hasBf16Dot = target.bf16Dot;
  shape.portsBesideProducts = target.portsBesideProducts;
  shape.accumulators = manyRegisters ? 24 : 12;
  shape.tileRows = std::min<int64_t>(6, shape.accumulators / (16 / shape.lanes));
  shape.useTiles(tiles, rows);
  // With nothing to compute beside products a tile is as high as two panels allow: it reads keys and values once.
  if (shape.lanes == 16 && !shape.amx && !shape.overlaps() && rows > shape.tileRows)
    shape.tileRows = shape.accumulators / 2;
  shape.unroll = manyRegisters && shape.overlaps() ? 2 : 4;
  return shape;
}

static int64_t outputElements(const AttentionShape &shape) { return shape.maxRows * shape.valuePanels() * 16; }
static int64_t roundUp(int64_t value) { return (value + 15) / 16 * 16; }
/// Scores of a row tile, of two where tiles overlap.
static int64_t scoreElements(const AttentionShape &shape) { return (shape.overlaps() ? 2 : 1) * shape.tileRows * shape.span(); }
/// A vector each for the rows' maxima, for maxima that nobody wants, and for sums of weights.
static int64_t foundElements(const AttentionShape &shape) { return shape.overlaps() ? 3 * shape.tileRows * 16 : 0; }
/// AVX-512 multiplies by powers of two.
static bool hasScaling(const AttentionShape &shape) { return shape.lanes == 16; }

/// What tile registers need.
static int64_t tileElements(const AttentionShape &shape, const Target &target) {
  return shape.amx ? AmxTiles::memoryWords(target) + shape.valuePanels() * AmxTiles::kWords * 16 + shape.tileRows * shape.valuePanels() * 16 : 0;
}

AttentionCore::AttentionCore(KernelBuilder &b, const AttentionShape &shape, const Target &target, Value scratch)
    : b_(b), shape_(shape), words_(b, shape.hasBf16Dot), scratch_(scratch), type_(b.vec(shape.lanes, b.f32())),
      tiles_(b, target, PanelFormat::BF16Dot, b.address(scratch, b.index(scratchElements(shape, target) - tileElements(shape, target)), b.f32())) {
  output_ = roundUp(shape.roomRows() * shape.queryStride());
  maximum_ = output_ + outputElements(shape);
  sum_ = maximum_ + roundUp(shape.maxRows);
  scores_ = sum_ + shape.maxRows * 16;
  found_ = scores_ + scoreElements(shape);
  bounds_ = found_ + foundElements(shape); // four i64 a row: two bounds, the span a range ends with, spans of a range
  joined_ = bounds_ + roundUp(shape.maxRows * 8);
  lastValues_ = scratchElements(shape, target) - tileElements(shape, target) + AmxTiles::memoryWords(target);
  fewRows_ = lastValues_ + shape.valuePanels() * AmxTiles::kWords * 16;
}

int64_t AttentionCore::scratchElements(const AttentionShape &shape, const Target &target) {
  return roundUp(shape.roomRows() * shape.queryStride()) + outputElements(shape) + roundUp(shape.maxRows) + shape.maxRows * 16 +
         scoreElements(shape) + foundElements(shape) + roundUp(shape.maxRows * 8) + (shape.inRanges ? shape.maxRows * shape.stateElements() : 0) +
         tileElements(shape, target);
}

Value AttentionCore::part(int64_t offset, Value row, int64_t rowElements) {
  return b_.address(scratch_, b_.add(b_.mul(row, rowElements), offset), b_.f32());
}
Value AttentionCore::query(Value row) { return part(0, row, shape_.queryStride()); }

/// What keys weigh beside one that has the highest score.
Value AttentionCore::weight(Value scores, Value maximum, bool rough) {
  Number below(b_, b_.fsub(scores, maximum));
  if (baseE)
    below = below * kLog2E;
  if (!hasScaling(shape_))
    return f32::exp2NotPositive(below, rough).v;
  return (rough ? f32::exp2ByTable(below) : f32::exp2ByScaling(below)).v;
}

/// The same where keys may be hidden, which weigh nothing.
Value AttentionCore::visibleWeight(Value scores, Value maximum, bool mayHide) {
  Value p = weight(scores, maximum, /*rough=*/shape_.inPairs());
  if (!mayHide || hasScaling(shape_)) // scaling by 2^-infinity gives zero
    return p;
  Value hidden = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::OEQ, scores, b_.constant(type_, -INFINITY));
  return b_.select(hidden, b_.constant(type_, 0), p);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

AttentionCore::RowState AttentionCore::current(Value row) {
  return {part(output_, row, shape_.valuePanels() * 16), part(sum_, row, 16), part(maximum_, row, 1)};
}
AttentionCore::RowState AttentionCore::joined(Value row) { return stored(part(joined_, row, shape_.stateElements())); }
AttentionCore::RowState AttentionCore::stored(Value at) {
  int64_t width = shape_.valuePanels() * 16;
  return {at, b_.address(at, b_.index(width), b_.f32()), b_.address(at, b_.index(width + 16), b_.f32())};
}

void AttentionCore::clear(const RowState &state, Value sink) {
  Value zero = b_.constant(type_, 0);
  b_.forLoop(b_.index(0), b_.index(shape_.valuePanels() * 16), shape_.lanes, [&](Value i) { b_.store(zero, state.output, i); });
  b_.forLoop(b_.index(0), b_.index(16), shape_.lanes, [&](Value i) { b_.store(zero, state.sums, i); });
  // A sink is a key with weight 2^(sink - m) and no value: it counts as one at its own maximum.
  if (sink)
    b_.store(b_.constant(b_.f32(), 1), state.sums, b_.index(0));
  b_.store(sink ? sink : b_.constant(b_.f32(), -FLT_MAX), state.maximum, b_.index(0));
}

void AttentionCore::startRow(Value row, Value low, Value high, Value sink) {
  Value bounds = part(bounds_, row, 8);
  b_.store(low, bounds, b_.index(0));
  b_.store(high, bounds, b_.index(1));
  clear(current(row), shape_.inRanges ? Value() : sink);
  if (shape_.inRanges) {
    KeyRanges cut = ranges(low, high);
    Value spans = b_.floorDiv(b_.add(high, shape_.span() - 1), shape_.span());
    b_.store(b_.add(b_.min(b_.mul(b_.add(cut.first, 1), cut.spans), spans), -1), bounds, b_.index(2));
    b_.store(cut.spans, bounds, b_.index(3));
    startJoin(row, sink);
  }
  if (shape_.inPairs())
    words_.roundRow(query(row), query(row), shape_.keySize, shape_.lanes);
  if (shape_.amx && shape_.keySteps() % AmxTiles::kWords)
    copyLastWords(query(row));
}

void AttentionCore::finishRow(Value row, Value to) {
  RowState state = shape_.inRanges ? joined(row) : current(row);
  Value sums = b_.load(type_, state.sums, b_.index(0));
  Value sum = b_.reduceAdd(sums), zero = b_.constant(b_.f32(), 0);
  Value seen = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::UNE, sum, zero);
  Value inverse = b_.select(seen, b_.fdiv(b_.constant(b_.f32(), 1), sum), zero);
  Value factor = b_.splat(inverse, type_), output = state.output;
  int64_t whole = shape_.valueSize / shape_.lanes * shape_.lanes;
  b_.forLoop(b_.index(0), b_.index(whole), shape_.lanes,
             [&](Value i) { b_.store(b_.fmul(b_.load(type_, output, i), factor), to, i); });
  if (whole < shape_.valueSize)
    b_.storePart(b_.fmul(b_.load(type_, output, b_.index(whole)), factor), to, b_.index(whole),
                 b_.index(shape_.valueSize - whole));
}

//===----------------------------------------------------------------------===//
// Ranges
//===----------------------------------------------------------------------===//

// By the number of keys alone: a row's result does not depend on threads, nor on the rows beside it.
KeyRanges AttentionCore::ranges(Value low, Value high) {
  Value spans = b_.floorDiv(b_.add(high, shape_.span() - 1), shape_.span()), one = b_.index(1);
  Value each = b_.max(b_.floorDiv(b_.add(spans, AttentionShape::kMostRanges - 1), AttentionShape::kMostRanges), b_.index(AttentionShape::kLeastSpans));
  Value first = b_.floorDiv(b_.floorDiv(low, shape_.span()), each), end = b_.floorDiv(b_.sub(b_.add(spans, each), one), each);
  return {each, first, b_.sub(end, first)};
}

void AttentionCore::join(const RowState &into, const RowState &from) {
  Value before = b_.load(b_.f32(), into.maximum, b_.index(0)), other = b_.load(b_.f32(), from.maximum, b_.index(0)), after = b_.fmax(other, before);
  Value splat = b_.splat(after, type_), keep = weight(b_.splat(before, type_), splat), take = weight(b_.splat(other, type_), splat);
  b_.store(after, into.maximum, b_.index(0));
  auto sum = [&](Value to, Value more, Value i) {
    b_.store(b_.fma(b_.load(type_, more, i), take, b_.fmul(b_.load(type_, to, i), keep)), to, i);
  };
  b_.forLoop(b_.index(0), b_.index(16), shape_.lanes, [&](Value i) { sum(into.sums, from.sums, i); });
  b_.forLoop(b_.index(0), b_.index(shape_.valuePanels() * 16), shape_.lanes, [&](Value i) { sum(into.output, from.output, i); });
}

void AttentionCore::endSpan(Value index, Value rows) {
  b_.forLoop(b_.index(0), rows, 1, [&](Value row) {
    Value bounds = part(bounds_, row, 8), end = b_.load(b_.i64(), bounds, b_.index(2));
    b_.ifThen(b_.equal(end, index), [&] {
      Value last = b_.add(b_.floorDiv(b_.add(b_.load(b_.i64(), bounds, b_.index(1)), shape_.span() - 1), shape_.span()), -1);
      Value next = b_.min(b_.add(end, b_.load(b_.i64(), bounds, b_.index(3))), last);
      b_.store(b_.select(b_.equal(end, last), b_.index(-1), next), bounds, b_.index(2));
      join(joined(row), current(row));
      clear(current(row));
    });
  });
}

void AttentionCore::storeRange(Value row, Value to) {
  RowState from = current(row), into = stored(to);
  b_.forLoop(b_.index(0), b_.index(shape_.valuePanels() * 16), shape_.lanes, [&](Value i) { b_.store(b_.load(type_, from.output, i), into.output, i); });
  b_.forLoop(b_.index(0), b_.index(16), shape_.lanes, [&](Value i) { b_.store(b_.load(type_, from.sums, i), into.sums, i); });
  b_.store(b_.load(b_.f32(), from.maximum, b_.index(0)), into.maximum, b_.index(0));
}

void AttentionCore::startJoin(Value row, Value sink) { clear(joined(row), sink); }
void AttentionCore::joinRange(Value row, Value from) { join(joined(row), stored(from)); }

//===----------------------------------------------------------------------===//
// Spans
//===----------------------------------------------------------------------===//

/// Panels side by side: as many as the accumulators allow, at most four.
int64_t AttentionCore::panelsAtOnce(int64_t rows) const {
  int64_t most = shape_.accumulators / (rows * (16 / shape_.lanes));
  return int64_t(llvm::bit_floor(uint64_t(std::clamp<int64_t>(most, 1, 4))));
}

void AttentionCore::forHeight(const RowTile &tile, function_ref<void(int64_t)> body) {
  if (tile.staticRows)
    return body(tile.staticRows);
  switchRows(b_, tile.rows, shape_.tileRows, body);
}

void AttentionCore::span(Value first, Value rows, const KeySpan &keys) {
  if (shape_.amx) {
    b_.forLoop(b_.index(0), rows, shape_.tileRows, [&](Value row) {
      rowTile({b_.add(first, row), b_.min(b_.sub(rows, row), b_.index(shape_.tileRows)), scoreBuffer(b_.index(0))}, keys);
    });
    return;
  }
  auto constant = rows.getDefiningOp<arith::ConstantIntOp>();
  if (!constant) {
    RowTiles tiles(b_, rows, shape_.tileRows);
    if (shape_.overlaps() && !adjust && !keys.next)
      return overlappedTiles(first, tiles, keys);
    b_.forLoop(b_.index(0), tiles.tiles, 1,
               [&](Value tile) { rowTile({b_.add(first, tiles.firstRow(tile)), tiles.rowCount(tile), scoreBuffer(b_.index(0))}, keys); });
    return;
  }
  int64_t count = constant.value(), tiles = (count + shape_.tileRows - 1) / shape_.tileRows;
  for (int64_t tile = 0, row = 0; tile < tiles; ++tile) {
    int64_t height = count / tiles + (tile < count % tiles ? 1 : 0);
    rowTile({b_.add(first, row), b_.index(height), scoreBuffer(b_.index(0)), height}, keys);
    row += height;
  }
}

// A later row sees at least as far as an earlier one, so what the last row does not see is left out for the whole tile.
KeySpan AttentionCore::visibleKeys(const RowTile &tile, const KeySpan &span) {
  Value last = b_.add(b_.add(tile.first, tile.rows), -1);
  KeySpan keys = span;
  keys.count = b_.min(span.count, b_.sub(b_.load(b_.i64(), part(bounds_, last, 8), b_.index(1)), span.key));
  return keys;
}

void AttentionCore::rowTile(const RowTile &tile, const KeySpan &span) {
  KeySpan keys = visibleKeys(tile, span);
  b_.ifThen(b_.less(b_.index(0), keys.count), [&] { visibleTile(tile, keys); });
}

Value AttentionCore::blockCount(const KeySpan &keys) { return b_.floorDiv(b_.add(keys.count, kKeys - 1), kKeys); }

void AttentionCore::visibleTile(const RowTile &tile, const KeySpan &keys) {
  if (shape_.amx)
    tiledScores(tile, keys);
  else
    forHeight(tile, [&](int64_t rows) { scores(tile, rows, keys); });
  // The first values come while the last keys are used.
  Value next;
  if (keys.next)
    next = keys.values(b_.min(b_.index(1), b_.add(blockCount(keys), -1)));
  // All maxima first: the rows' exponentials then follow each other without waiting for a maximum across lanes.
  b_.forLoop(b_.index(0), tile.rows, 1, [&](Value i) { updateMaximum(rowOf(tile, i), keys); });
  b_.forLoop(b_.index(0), tile.rows, 1, [&](Value i) {
    Value share; // of what is to be prefetched
    if (next)
      share = b_.address(next, b_.mul(i, shape_.span()), b_.f32());
    weighRow(rowOf(tile, i), keys, share);
  });
  if (shape_.amx)
    tiledValues(tile, keys);
  else
    forHeight(tile, [&](int64_t rows) { weightedValues(tile, rows, keys); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

TileOperands AttentionCore::cachedOperands() const {
  TileOperands in;
  in.element = b_.f32();
  in.format = shape_.cached;
  in.hasF16Conversion = shape_.hasF16Conversion;
  in.hasBf16Dot = shape_.hasBf16Dot;
  return in;
}

/// Prefetches, while a tile runs over its panels, those it is followed by: as many streams as are read.
std::function<void(Value, Value)> AttentionCore::readAhead(const Values &panels, int64_t unroll) {
  if (panels.empty())
    return nullptr;
  KernelBuilder *b = &b_;
  Type element = cachedElement();
  int64_t line = 64 * 8 / element.getIntOrFloatBitWidth();
  return [=](Value k, Value) {
    for (Value panel : panels)
      for (int64_t i = 0; i < unroll * 16; i += line)
        b->prefetch(panel, b->add(b->mul(k, 16), i), element, /*locality=*/2);
  };
}

void AttentionCore::scoreTile(Value first, const TileShape &shape, const ScoreTile &tile) {
  TileOperands in = cachedOperands();
  in.a = query(first);
  if (shape_.lanes == 16) // LLVM would compute the tile's first row anew in each step
    in.a = b_.opaque(in.a);
  in.aRow = shape_.queryStride();
  in.unroll = shape_.unroll;
  in.depth = b_.index(shape_.keySteps());
  in.depthMultiple = shape_.keySteps();
  in.panels = tile.panels;
  in.perStep = readAhead(tile.next, in.unroll);
  Values sums = emitTileLoop(b_, shape, in, zeroTile(b_, shape, b_.f32()));
  TileShape single{shape.rows, 1, shape.lanes};
  for (int64_t panel = 0; panel < shape.panels; ++panel) {
    Values part;
    for (int64_t row = 0; row < shape.rows; ++row)
      for (int64_t vector = 0; vector < shape.vectors(); ++vector)
        part.push_back(sums[size_t(shape.index(row, panel, vector))]);
    storeTile(b_, single, part, tile.to[size_t(panel)], shape_.span());
  }
  if (!tile.maxima)
    return;
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value most = b_.load(type_, tile.maxima, b_.index(row * 16));
    for (int64_t panel = 0; panel < shape.panels; ++panel)
      most = b_.fmax(sums[size_t(shape.index(row, panel, 0))], most);
    b_.store(most, tile.maxima, b_.index(row * 16));
  }
}

/// Takes whole blocks, as many at once as a tile has panels: long streams side by side, which memory gives faster than one. Returns the
/// first block that is left.
Value AttentionCore::scoresSideBySide(const RowTile &rowTile, const TileShape &shape, const KeySpan &keys, Value firstBlock) {
  int64_t count = shape.panels;
  Value blocks = blockCount(keys), lastOne = b_.add(blocks, -1), whole = b_.floorDiv(keys.count, kKeys);
  Value end = b_.sub(whole, b_.mod(b_.sub(whole, firstBlock), b_.index(count)));
  b_.forLoop(firstBlock, end, count, [&](Value block) {
    Values own, later; // addresses of blocks
    Value after = b_.add(block, count), isLast = b_.equal(after, end), valuesFollow = b_.equal(end, blocks);
    Value left = keys.keys(b_.min(end, lastOne)), values = keys.values(firstBlock);
    for (int64_t i = 0; i < count; ++i) {
      Value rest = b_.select(valuesFollow, valuePanel(values, b_.index(std::min(i, shape_.valuePanels() - 1))), keyPanel(left, b_.index(i * 16)));
      own.push_back(keys.keys(b_.add(block, i)));
      later.push_back(b_.select(isLast, rest, keys.keys(b_.min(b_.add(after, i), lastOne))));
    }
    b_.forLoop(b_.index(0), b_.index(kKeys), 16, [&](Value key) {
      ScoreTile tile;
      Value isEnd = b_.equal(key, b_.index(kKeys - 16));
      for (int64_t i = 0; i < count; ++i) {
        tile.panels.push_back(keyPanel(own[size_t(i)], key));
        tile.to.push_back(b_.address(rowTile.scores, b_.add(b_.mul(b_.add(block, i), kKeys), key), b_.f32()));
        tile.next.push_back(b_.select(isEnd, later[size_t(i)], keyPanel(own[size_t(i)], b_.add(key, 16))));
      }
      scoreTile(rowTile.first, shape, tile);
    });
  });
  return end;
}

// Whole panels: what lies behind the last key is computed and then masked.
void AttentionCore::scores(const RowTile &rowTile, int64_t rows, const KeySpan &keys) {
  Value blocks = blockCount(keys), firstBlock = keys.firstBlock ? keys.firstBlock : b_.index(0), begin = firstBlock;
  TileShape shape{rows, panelsAtOnce(rows), shape_.lanes}, single{rows, 1, shape_.lanes};
  if (keys.next)
    begin = scoresSideBySide(rowTile, shape, keys, firstBlock);
  b_.forLoop(begin, blocks, 1, [&](Value block) {
    Value from = keys.keys(block), before = b_.mul(block, kKeys), count = b_.min(b_.sub(keys.count, before), b_.index(kKeys)), next;
    if (keys.next)
      next = b_.select(b_.equal(b_.add(block, 1), blocks), keys.values(firstBlock), keys.keys(b_.min(b_.add(block, 1), b_.add(blocks, -1))));
    Value maxima;
    if (rowTile.whole)
      maxima = part(found_, b_.select(b_.less(block, rowTile.whole), b_.index(0), b_.index(shape_.tileRows)), 16);
    auto tileAt = [&](const TileShape &shape, Value key, Value maxima = {}) {
      ScoreTile tile;
      tile.maxima = maxima;
      for (int64_t panel = 0; panel < shape.panels; ++panel) {
        Value at = b_.add(key, panel * 16);
        tile.panels.push_back(keyPanel(from, at));
        tile.to.push_back(b_.address(rowTile.scores, b_.add(before, at), b_.f32()));
        if (next)
          tile.next.push_back(keyPanel(next, at));
      }
      scoreTile(rowTile.first, shape, tile);
    };
    Value panels = b_.floorDiv(b_.add(count, 15), 16), whole = b_.mul(b_.floorDiv(panels, shape.panels), shape.columns());
    b_.forLoop(b_.index(0), whole, shape.columns(), [&](Value key) { tileAt(shape, key, maxima); });
    if (shape.panels > 1)
      b_.forLoop(whole, b_.mul(panels, 16), 16, [&](Value key) { tileAt(single, key); });
  });
}

void AttentionCore::weightedValues(const RowTile &tile, int64_t rows, const KeySpan &keys, const Beside *beside) {
  int64_t width = shape_.valuePanels() * 16, begin = 0;
  Value blocks = blockCount(keys), firstBlock = keys.firstBlock ? keys.firstBlock : b_.index(0);
  auto columns = [&](Value panel, int64_t count, int64_t end, const Beside *beside) {
    TileShape shape{rows, count, shape_.lanes};
    Value output = b_.address(part(output_, tile.first, width), b_.mul(panel, 16), b_.f32());
    TileOperands in = cachedOperands();
    in.aRow = shape_.span();
    in.unroll = 2 * shape.accumulators() <= shape_.accumulators ? std::max<int64_t>(shape_.unroll, 4) : shape_.unroll;
    auto readBlock = [&](Value block, TileOperands &in) {
      in.a = b_.address(tile.scores, b_.mul(block, shape_.blockSteps()), b_.f32());
      in.panels.clear();
      for (int64_t i = 0; i < count; ++i)
        in.panels.push_back(valuePanel(keys.values(block), b_.add(panel, i)));
    };
    auto sum = [&](Value block, ValueRange sums) {
      readBlock(block, in);
      in.depth = b_.min(b_.sub(keys.count, b_.mul(block, kKeys)), b_.index(kKeys));
      if (shape_.inPairs())
        in.depth = b_.floorDiv(b_.add(in.depth, 1), 2); // the last key's neighbour weighs nothing
      Value after = b_.add(block, 1), isLast = b_.equal(after, blocks);
      Values next;
      for (int64_t i = 0; keys.next && i < count; ++i) {
        Value later = b_.min(b_.add(panel, count + i), b_.index(shape_.valuePanels() - 1)), isEnd = b_.equal(panel, b_.index(end - count));
        Value restart = b_.select(isEnd, keys.next(b_.index(i)), valuePanel(keys.values(firstBlock), later));
        next.push_back(b_.select(isLast, restart, valuePanel(keys.values(b_.min(after, b_.add(blocks, -1))), b_.add(panel, i))));
      }
      in.perStep = readAhead(next, in.unroll);
      return emitTileLoop(b_, shape, in, sums);
    };
    Values sums = loadTile(b_, shape, b_.f32(), output, width);
    Value from = firstBlock;
    if (beside) {
      sums = valuesBeside(*beside, shape, in, readBlock, sums);
      from = b_.max(firstBlock, beside->blocks);
    }
    storeTile(b_, shape, b_.forLoop(from, blocks, 1, sums, sum), output, width);
  };
  if (beside) { // the first columns, with half of the registers
    begin = std::min({shape_.valuePanels(), panelsAtOnce(rows), int64_t(llvm::bit_floor(uint64_t(shape_.accumulators / 2 / rows)))});
    columns(b_.index(0), begin, begin, beside);
  }
  for (int64_t count = panelsAtOnce(rows); count >= 1; count /= 2) {
    int64_t end = begin + (shape_.valuePanels() - begin) / count * count;
    if (begin < end)
      b_.forLoop(b_.index(begin), b_.index(end), count, [&](Value panel) { columns(panel, count, end, nullptr); });
    begin = end;
  }
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

Value AttentionCore::maskScores(Value scores, Value key, Value low, Value high) {
  OpBuilder &ops = b_.ops();
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  SmallVector<int32_t> steps;
  for (int32_t i = 0; i < shape_.lanes; ++i)
    steps.push_back(i);
  Value iota = arith::ConstantOp::create(ops, b_.loc(), ints, DenseElementsAttr::get(ints, ArrayRef(steps)));
  auto relative = [&](Value bound) { // of the bound to this vector's first key
    return b_.splat(arith::TruncIOp::create(ops, b_.loc(), b_.i32(), b_.sub(bound, key)), ints);
  };
  Value afterLow = arith::CmpIOp::create(ops, b_.loc(), arith::CmpIPredicate::sge, iota, relative(low));
  Value beforeHigh = arith::CmpIOp::create(ops, b_.loc(), arith::CmpIPredicate::slt, iota, relative(high));
  Value visible = arith::AndIOp::create(ops, b_.loc(), afterLow, beforeHigh);
  return b_.select(visible, scores, b_.constant(type_, -INFINITY));
}

AttentionCore::Values AttentionCore::largest(const SoftmaxPart &part, ValueRange context, Values most) {
  int64_t vectors = 16 / shape_.lanes; // side by side: independent chains
  return b_.forLoop(part.from, part.to, 16, most, [&](Value first, ValueRange before) {
    Values found;
    for (int64_t v = 0; v < vectors; ++v) {
      Value i = b_.add(first, v * shape_.lanes), s = b_.load(type_, part.scores, i), key = b_.add(part.key, i);
      if (adjust)
        s = adjust(s, context, key, b_.sub(part.count, i));
      if (part.low)
        s = maskScores(s, key, part.low, part.high);
      if (part.low || adjust)
        b_.store(s, part.scores, i);
      found.push_back(b_.fmax(s, before[size_t(v)]));
    }
    return found;
  });
}

/// Scores of a row from `at` on become weights, which it gives.
Value AttentionCore::weighVector(Value scores, Value at, Value maximum, bool mayHide) {
  Value p = visibleWeight(b_.load(type_, scores, at), maximum, mayHide);
  b_.store(shape_.inPairs() ? words_.round(p) : p, scores, at); // halves take the place of scores already read
  return p;
}

AttentionCore::Values AttentionCore::weigh(const SoftmaxPart &part, Value maximum, Values sums, Value next) {
  int64_t vectors = 16 / shape_.lanes;
  return b_.forLoop(part.from, part.to, 16, sums, [&](Value first, ValueRange before) {
    Values after;
    if (next)
      b_.prefetch(next, first, b_.f32(), /*locality=*/2); // a line
    for (int64_t v = 0; v < vectors; ++v) {
      Value p = weighVector(part.scores, b_.add(first, v * shape_.lanes), maximum, part.low || adjust);
      after.push_back(b_.fadd(before[size_t(v)], p));
    }
    return after;
  });
}

/// The row's maximum became another one.
void AttentionCore::rescale(Value row, Value before, Value after) {
  Value sumsAt = part(sum_, row, 16), output = part(output_, row, shape_.valuePanels() * 16);
  Value factor = weight(b_.splat(before, type_), b_.splat(after, type_));
  b_.store(b_.fmul(b_.load(type_, sumsAt, b_.index(0)), factor), sumsAt, b_.index(0));
  b_.forLoop(b_.index(0), b_.index(shape_.valuePanels() * 16), shape_.lanes,
             [&](Value i) { b_.store(b_.fmul(b_.load(type_, output, i), factor), output, i); });
}

// Most keys are visible to most rows and need no masks: those in the middle [from, to). Masks or not, the order of sums is the same.
std::array<AttentionCore::SoftmaxPart, 3> AttentionCore::softmaxParts(const SoftmaxRow &row, const KeySpan &keys) {
  Value bounds = part(bounds_, row.row, 8), zero = b_.index(0);
  Value low = b_.load(b_.i64(), bounds, zero), high = b_.load(b_.i64(), bounds, b_.index(1));
  Value begin = keys.firstBlock ? b_.mul(keys.firstBlock, kKeys) : zero, end = b_.mul(b_.floorDiv(b_.add(keys.count, 15), 16), 16);
  if (row.done)
    begin = b_.max(begin, row.done);
  Value from = b_.mul(b_.floorDiv(b_.add(b_.max(b_.sub(low, keys.key), zero), 15), 16), 16);
  Value to = b_.mul(b_.floorDiv(b_.max(b_.sub(high, keys.key), zero), 16), 16);
  from = b_.min(b_.max(from, begin), end);
  to = b_.min(b_.max(to, from), end);
  return {SoftmaxPart{row.scores, begin, from, keys.key, keys.count, low, high}, SoftmaxPart{row.scores, from, to, keys.key, keys.count, {}, {}},
          SoftmaxPart{row.scores, to, end, keys.key, keys.count, low, high}};
}

AttentionCore::Values AttentionCore::eachPart(const SoftmaxRow &row, const KeySpan &keys, Values found, function_ref<Values(const SoftmaxPart &, ValueRange)> body) {
  auto all = [&] {
    Values now = found;
    for (const SoftmaxPart &part : softmaxParts(row, keys))
      now = body(part, now);
    return now;
  };
  if (!row.done)
    return all();
  return b_.ifThen(b_.less(row.done, keys.count), TypeRange(ValueRange(found)), all, [&] { return found; });
}

/// Brings the row's maximum, and what was summed with the one before, up to date.
void AttentionCore::updateMaximum(const SoftmaxRow &row, const KeySpan &keys) {
  Values context = loadRow ? loadRow(row.row) : Values{}, maxima(size_t(16 / shape_.lanes), b_.constant(type_, -FLT_MAX));
  if (row.found)
    maxima[0] = b_.load(type_, row.found, b_.index(0));
  maxima = eachPart(row, keys, maxima, [&](const SoftmaxPart &part, ValueRange before) { return largest(part, context, Values(before)); });
  for (size_t v = 1; v < maxima.size(); ++v)
    maxima[0] = b_.fmax(maxima[v], maxima[0]);
  Value before = b_.load(b_.f32(), part(maximum_, row.row, 1), b_.index(0)), after = b_.fmax(b_.reduceMax(maxima[0]), before);
  b_.store(after, part(maximum_, row.row, 1), b_.index(0));
  Value changed = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::UNE, before, after);
  // Before the first key there is nothing to rescale. The maximum does not tell: masks hide keys by adding the least number, and a span of such keys has been summed.
  b_.ifThen(changed, [&] {
    Value most = b_.reduceMax(b_.load(type_, part(sum_, row.row, 16), b_.index(0)));
    Value summed = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::UNE, most, b_.constant(b_.f32(), 0));
    b_.ifThen(summed, [&] { rescale(row.row, before, after); });
  });
}

/// Scores become weights.
void AttentionCore::weighRow(const SoftmaxRow &row, const KeySpan &keys, Value next) {
  Value maximum = b_.loadSplat(type_, part(maximum_, row.row, 1), b_.index(0)), sumsAt = part(sum_, row.row, 16);
  Values sums(size_t(16 / shape_.lanes), b_.constant(type_, 0));
  if (row.found) // unless nothing has been
    sums[0] = b_.select(b_.less(b_.index(0), row.done), b_.load(type_, row.found, b_.index(0)), sums[0]);
  sums = eachPart(row, keys, sums, [&](const SoftmaxPart &part, ValueRange before) { return weigh(part, maximum, Values(before), next); });
  for (size_t v = 1; v < sums.size(); ++v)
    sums[0] = b_.fadd(sums[0], sums[v]);
  b_.store(b_.fadd(b_.load(type_, sumsAt, b_.index(0)), sums[0]), sumsAt, b_.index(0));
  if (shape_.amx) { // keys come in groups of 32
    VectorType halves = b_.vec(16, b_.ops().getIntegerType(16));
    b_.store(b_.constantInt(halves, 0), row.scores, b_.mul(b_.floorDiv(b_.add(keys.count, 15), 16), 16));
  }
}
