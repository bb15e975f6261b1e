//===- AttentionAmx.cpp - attention's products in tile registers ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Panels of keys and of values are right sides as they lie; left sides are rounded queries and weights. Registers always have the same number of rows: a tile
// with fewer computes more of them than it has, from what lies behind its queries and scores, which nobody reads.
//
// Where a key's words are no multiple of those of a register, the last register begins with words that the one before has had, and meets zeros there: what lies
// behind a key's words is another key's, or nobody's.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionCore.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kKeys = AttentionShape::kKeys, kWords = AmxTiles::kWords;
/// Keys whose weights one instruction multiplies.
static constexpr int64_t kKeyGroup = 2 * kWords;

void AttentionShape::useTiles(bool wanted, int64_t rows) {
  amx = wanted && inPairs() && keySteps() >= kWords;
  if (amx)
    tileRows = rows > AmxTiles::kRows ? 2 * AmxTiles::kRows : rows;
}

void AttentionCore::begin() {
  if (shape_.amx)
    tiles_.configure(b_.index(std::min(shape_.tileRows, AmxTiles::kRows)));
}

void AttentionCore::end() {
  if (shape_.amx)
    tiles_.release();
}

/// A copy of the last kWords words of a query, with zeros for those that whole registers have had. It lies behind the query's words, in the room of its floats.
void AttentionCore::copyLastWords(Value query) {
  int64_t had = kWords - shape_.keySteps() % kWords;
  VectorType type = b_.vec(shape_.lanes, b_.i32());
  for (int64_t i = 0; i < kWords; i += shape_.lanes) {
    SmallVector<int32_t> kept;
    for (int64_t word = i; word < i + shape_.lanes; ++word)
      kept.push_back(word < had ? 0 : -1);
    Value mask = arith::ConstantOp::create(b_.ops(), b_.loc(), DenseElementsAttr::get(type, ArrayRef(kept)));
    Value words = b_.load(type, query, b_.index(shape_.keySteps() - kWords + i));
    b_.store(arith::AndIOp::create(b_.ops(), b_.loc(), words, mask), query, b_.index(shape_.keySteps() + i));
  }
}

/// Lines of a panel that one instruction takes, into the first-level cache.
void AttentionCore::readLines(Value panel) {
  for (int64_t word = 0; word < kWords; ++word)
    b_.prefetch(panel, b_.index(word * 16), b_.f32(), /*locality=*/3);
}

/// Of whole blocks: what lies behind the last key is computed and then masked. Where memory is the limit, of as many blocks at once as there are panels: long streams side by
/// side, of which the lines that come next are read ahead (behind the last key: values).
void AttentionCore::tiledScores(const RowTile &tile, const KeySpan &keys) {
  AmxTiles::Shape shape = shape_.amxShape();
  Value first = keys.firstBlock ? keys.firstBlock : b_.index(0), stride = b_.index(shape_.queryStride());
  auto scores = [&](Value key, int64_t keyStride, const Values &panels) { // of panels so many keys apart
    tiles_.zeroSums(shape);
    for (int64_t step = 0; step < shape_.keySteps(); step += kWords) {
      bool isPart = shape_.keySteps() - step < kWords;
      int64_t word = isPart ? shape_.keySteps() - kWords : step;
      Values lefts, rights;
      for (int64_t i = 0; i < shape.rows; ++i)
        lefts.push_back(b_.address(query(b_.add(tile.first, i * AmxTiles::kRows)), b_.index(isPart ? shape_.keySteps() : word), b_.f32()));
      for (Value panel : panels)
        rights.push_back(b_.address(panel, b_.index(word * 16), b_.f32()));
      tiles_.multiplyAdd(shape, lefts, stride, rights, /*streamsLefts=*/false, streamsPanels(keys), [&](int64_t i) {
        if (keys.next)
          readLines(b_.address(rights[size_t(i)], b_.index(kWords * 16), b_.f32()));
      });
    }
    tiles_.storeSums(shape, b_.address(tile.scores, key, b_.f32()), shape_.span(), keyStride);
  };
  if (keys.next) {
    Value whole = b_.floorDiv(keys.count, kKeys), end = b_.sub(whole, b_.mod(b_.sub(whole, first), b_.index(shape.panels)));
    b_.forLoop(first, end, shape.panels, [&](Value block) {
      b_.forLoop(b_.index(0), b_.index(kKeys), 16, [&](Value key) {
        Values panels;
        for (int64_t i = 0; i < shape.panels; ++i)
          panels.push_back(keyPanel(keys.keys(b_.add(block, i)), key));
        scores(b_.add(b_.mul(block, kKeys), key), kKeys, panels);
      });
    });
    first = end;
  }
  b_.forLoop(first, blockCount(keys), 1, [&](Value block) {
    Value from = keys.keys(block);
    b_.forLoop(b_.index(0), b_.index(kKeys), shape.panels * 16, [&](Value key) {
      Values panels;
      for (int64_t i = 0; i < shape.panels; ++i)
        panels.push_back(keyPanel(from, b_.add(key, i * 16)));
      scores(b_.add(b_.mul(block, kKeys), key), 16, panels);
    });
  });
}

/// Values of the last group, of which there are `keysLeft` keys, and zeros: what lies behind the last key in memory need not be a number.
void AttentionCore::copyLastValues(const KeySpan &keys, Value keysLeft) {
  VectorType type = b_.vec(shape_.lanes, b_.i32());
  Value group = b_.floorDiv(keys.count, kKeyGroup), block = b_.floorDiv(group, kKeys / kKeyGroup), pair = b_.mul(b_.mod(group, b_.index(kKeys / kKeyGroup)), kWords);
  Value values = keys.values(block), whole = b_.floorDiv(keysLeft, 2), one = b_.index(1);
  Value single = b_.splat(b_.constantInt(b_.i32(), 0xffff), type), all = b_.splat(b_.constantInt(b_.i32(), -1), type);
  b_.forLoop(b_.index(0), b_.index(shape_.valuePanels()), 1, [&](Value panel) {
    Value from = b_.address(valuePanel(values, panel), b_.mul(pair, 16), b_.f32()), to = part(lastValues_, panel, kWords * 16);
    auto eachVector = [&](Value first, Value end, function_ref<Value(Value)> value) {
      b_.forLoop(b_.mul(first, 16), b_.mul(end, 16), shape_.lanes, [&](Value i) { b_.store(value(i), to, i); });
    };
    Value existing = b_.floorDiv(b_.add(keysLeft, one), 2);
    eachVector(b_.index(0), existing, [&](Value i) {
      Value mask = b_.select(b_.less(i, b_.mul(whole, 16)), all, single);
      return Value(arith::AndIOp::create(b_.ops(), b_.loc(), b_.load(type, from, i), mask));
    });
    eachVector(existing, b_.index(kWords), [&](Value) { return b_.constantInt(type, 0); });
  });
}

void AttentionCore::tiledValues(const RowTile &tile, const KeySpan &keys) {
  int64_t width = shape_.valuePanels() * 16, begin = 0;
  Value output = part(output_, tile.first, width), few = b_.address(scratch_, b_.index(fewRows_), b_.f32()), isWhole = b_.equal(tile.rows, b_.index(shape_.tileRows));
  auto copyRows = [&](Value from, Value to) {
    b_.forLoop(b_.index(0), b_.mul(tile.rows, width), shape_.lanes, [&](Value i) { b_.store(b_.load(type_, from, i), to, i); });
  };
  b_.ifThen(isWhole, [] {}, [&] { copyRows(output, few); });
  Value sums = b_.select(isWhole, output, few), groups = b_.floorDiv(keys.count, kKeyGroup), keysLeft = b_.sub(keys.count, b_.mul(groups, kKeyGroup));
  Value isLeft = b_.less(b_.index(0), keysLeft), firstGroup = keys.firstBlock ? b_.mul(keys.firstBlock, kKeys / kKeyGroup) : b_.index(0);
  b_.ifThen(isLeft, [&] { copyLastValues(keys, keysLeft); });
  auto valuesAt = [&](Value group, Value panel) { // words of a group
    Value pair = b_.mul(b_.mod(group, b_.index(kKeys / kKeyGroup)), kWords);
    return b_.address(valuePanel(keys.values(b_.floorDiv(group, kKeys / kKeyGroup)), panel), b_.mul(pair, 16), b_.f32());
  };
  auto columns = [&](Value panel, AmxTiles::Shape shape, int64_t end) {
    Value place = b_.address(sums, b_.mul(panel, 16), b_.f32()), isEnd = b_.equal(panel, b_.index(end - shape.panels));
    auto add = [&](Value group, function_ref<Value(Value panel)> values, const Values &next = {}) {
      Values lefts, panels;
      for (int64_t i = 0; i < shape.rows; ++i)
        lefts.push_back(b_.address(tile.scores, b_.add(b_.mul(group, kWords), i * AmxTiles::kRows * shape_.span()), b_.f32()));
      for (int64_t i = 0; i < shape.panels; ++i)
        panels.push_back(values(b_.add(panel, i)));
      tiles_.multiplyAdd(shape, lefts, b_.index(shape_.span()), panels, /*streamsLefts=*/false, streamsPanels(keys), [&](int64_t i) {
        if (!next.empty())
          readLines(next[size_t(i)]);
      });
    };
    tiles_.loadSums(shape, place, width);
    b_.forLoop(firstGroup, groups, 1, [&](Value group) {
      Value after = b_.add(group, 1), isLast = b_.equal(after, groups);
      Values next;
      for (int64_t i = 0; keys.next && i < shape.panels; ++i) {
        Value restart = b_.select(isEnd, keys.next(b_.index(i)), valuesAt(firstGroup, b_.add(panel, shape.panels + i)));
        next.push_back(b_.select(isLast, restart, valuesAt(b_.min(after, b_.add(groups, -1)), b_.add(panel, i))));
      }
      add(group, [&](Value panel) { return valuesAt(group, panel); }, next);
    });
    b_.ifThen(isLeft, [&] { add(groups, [&](Value panel) { return part(lastValues_, panel, kWords * 16); }); });
    tiles_.storeSums(shape, place, width);
  };
  AmxTiles::Shape shape = shape_.amxShape();
  for (int64_t count = shape.panels; count >= 1; count /= 2) {
    int64_t end = begin + (shape_.valuePanels() - begin) / count * count;
    if (begin < end)
      b_.forLoop(b_.index(begin), b_.index(end), count, [&](Value panel) { columns(panel, {shape.rows, count}, end); });
    begin = end;
  }
  b_.ifThen(isWhole, [] {}, [&] { copyRows(few, output); });
}
