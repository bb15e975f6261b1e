//===- AttentionOverlap.cpp - row tiles that overlap ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The weights of one row tile are computed beside the products of another (docs/rationale/cpu-attention.md).
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionCore.h"

#include <cfloat>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kKeys = AttentionShape::kKeys;

/// Of keys.count from the first on those that all rows of the tile see as a whole: an earlier row sees at most as far, a later one begins at the earliest there.
Value AttentionCore::wholeBlocks(const RowTile &tile, const KeySpan &keys) {
  Value last = b_.add(b_.add(tile.first, tile.rows), -1), high = b_.load(b_.i64(), part(bounds_, tile.first, 8), b_.index(1));
  Value low = b_.load(b_.i64(), part(bounds_, last, 8), b_.index(0)), seen = b_.min(keys.count, b_.sub(high, keys.key));
  return b_.select(b_.less(keys.key, low), b_.index(0), b_.floorDiv(b_.max(seen, b_.index(0)), kKeys));
}

// Scores and maxima of a tile, then the products of the tile before with its own values, during which this tile's scores become weights.
void AttentionCore::overlappedTiles(Value first, const RowTiles &tiles, const KeySpan &span) {
  Value zero = b_.index(0), lastTile = b_.add(tiles.tiles, -1);
  auto tileAt = [&](Value i) { return RowTile{b_.add(first, tiles.firstRow(i)), tiles.rowCount(i), scoreBuffer(b_.mod(i, b_.index(2)))}; };
  b_.forLoop(zero, b_.add(tiles.tiles, 1), 1, [&](Value i) {
    RowTile tile = tileAt(b_.min(i, lastTile)), before = tileAt(b_.max(b_.add(i, -1), zero));
    KeySpan keys = visibleKeys(tile, span), keysBefore = visibleKeys(before, span);
    Value exists = b_.less(i, tiles.tiles);
    tile.whole = wholeBlocks(tile, keys);
    b_.ifThen(exists, [&] {
      for (int64_t row = 0; row < shape_.tileRows; ++row)
        b_.store(b_.constant(type_, -FLT_MAX), part(found_, b_.index(row), 16), zero);
      forHeight(tile, [&](int64_t rows) { scores(tile, rows, keys); });
      b_.forLoop(zero, tile.rows, 1, [&](Value row) {
        SoftmaxRow own = rowOf(tile, row);
        own.done = b_.mul(tile.whole, kKeys);
        own.found = part(found_, row, 16);
        updateMaximum(own, keys);
      });
    });
    Value blocks = b_.max(b_.min(tile.whole, b_.floorDiv(keysBefore.count, kKeys)), zero), follows = b_.less(zero, i);
    Beside beside{tile, b_.select(follows, b_.select(exists, blocks, zero), zero)};
    b_.ifThen(follows, [&] { forHeight(before, [&](int64_t rows) { weightedValues(before, rows, keysBefore, &beside); }); });
    b_.ifThen(exists, [&] {
      b_.forLoop(zero, tile.rows, 1, [&](Value row) {
        SoftmaxRow own = rowOf(tile, row);
        own.done = b_.mul(beside.blocks, kKeys);
        own.found = part(found_, b_.add(row, 2 * shape_.tileRows), 16);
        weighRow(own, keys, {});
      });
    });
  });
}

/// Products of the blocks that both tiles see as a whole. The other tile has as many rows or one less, for which nothing is of use then.
AttentionCore::Values AttentionCore::valuesBeside(const Beside &beside, const TileShape &shape, TileOperands in,
                                                  function_ref<void(Value, TileOperands &)> readBlock, Values sums) {
  int64_t rows = shape.rows, steps = shape_.blockSteps() / (kKeys / 16);
  Values own, maxima, found;
  for (int64_t i = 0; i < rows; ++i) {
    Value row = b_.index(i);
    own.push_back(rowOf(beside.tile, row).scores);
    maxima.push_back(part(maximum_, b_.add(beside.tile.first, row), 1));
    found.push_back(part(found_, b_.add(row, 2 * shape_.tileRows), 16));
    sums.push_back(b_.constant(type_, 0));
  }
  sums = b_.forLoop(b_.index(0), beside.blocks, 1, sums, [&](Value block, ValueRange before) {
    readBlock(block, in);
    in.aCopies.clear();
    for (int64_t vector = 1; vector < shape.panels; ++vector)
      in.aCopies.push_back(b_.opaque(in.aCopies.empty() ? in.a : in.aCopies.back()));
    return b_.forLoop(b_.index(0), b_.index(shape_.blockSteps()), steps, before, [&](Value k, ValueRange sums) {
      Value key = b_.add(b_.mul(block, kKeys), b_.mul(b_.floorDiv(k, steps), 16));
      Values weights(sums.drop_front(size_t(shape.accumulators())));
      auto weighRows = [&](int64_t step) {
        for (int64_t i = 0; i < rows; ++i)
          if (i * steps / rows == step)
            weights[size_t(i)] = b_.fadd(weights[size_t(i)], weighVector(own[size_t(i)], key, b_.loadSplat(type_, maxima[size_t(i)], b_.index(0)), false));
      };
      Values after = emitTileSteps(b_, shape, in, k, steps, sums.take_front(size_t(shape.accumulators())), weighRows);
      after.append(weights);
      return after;
    });
  });
  for (int64_t i = 0; i < rows; ++i)
    b_.store(sums[size_t(shape.accumulators() + i)], found[size_t(i)], b_.index(0));
  sums.truncate(size_t(shape.accumulators()));
  return sums;
}
