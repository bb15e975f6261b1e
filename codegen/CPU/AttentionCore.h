//===- AttentionCore.h - online softmax over blocks of keys -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows are (token, head) pairs that share one key-value head. For each span of keys, some blocks of 64 that may lie apart:
//
//   S = Q K^T             register tiles, into a buffer of one row tile
//   m' = max(m, max S)     per row; l and O are rescaled by 2^(m - m') where m changed
//   P = 2^(S - m')         in place; l += sum P
//   O += P V               register tiles
//
// at the end O / l. Scores are kept in base 2 (queries come multiplied by log2 e), or in base e where a mask is added to them: beside a
// mask of -10000 scores round to 2^-10, and do so as the graph has it only in its own base. A key that a row may not see scores minus
// infinity and weighs exactly zero, so a row's result does not depend on the rows beside it.
//
// Keys may be cut into ranges, as many spans each as their number gives: a row then starts anew in each, and what it got from one is joined to
// what it has of those before, in their order, like a span that has a maximum of its own. So ranges may be computed by different threads.
//
// With keys and values in bf16 both products are dot products of bf16: queries and weights P are rounded too, while scores, maxima, and
// the sums of weights and of products stay f32.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ATTENTIONCORE_H
#define LLMOPT_CODEGEN_CPU_ATTENTIONCORE_H

#include "codegen/CPU/AmxTiles.h"
#include "codegen/CPU/Bf16Words.h"
#include "codegen/CPU/MatMulTile.h"

#include <array>

namespace llmopt::cpu {

inline constexpr double kLog2E = 1.4426950408889634;

struct AttentionShape {
  static constexpr int64_t kKeys = 64; ///< of one block
  int64_t blocks = 4;                  ///< of one span
  int64_t span() const { return blocks * kKeys; }
  int64_t keySize = 0, valueSize = 0;
  int64_t maxRows = 0; ///< processed together
  int64_t lanes = 8;
  int64_t accumulators = 12; ///< of one register tile
  int64_t tileRows = 6;
  int64_t unroll = 4;                      ///< of the tile loops: LLVM's scheduler spills in long loops of many accumulators
  PanelFormat cached = PanelFormat::Plain; ///< of keys and values: Plain (f32), F16 or BF16Dot
  bool hasF16Conversion = true;            ///< the target has vcvtph2ps
  bool hasBf16Dot = false;                 ///< the target has vdpbf16ps
  bool amx = false;                        ///< products in tile registers
  bool portsBesideProducts = true;         ///< the processor has ports that products do not use
  bool inRanges = false;                   ///< keys are cut into ranges
  static constexpr int64_t kMostRanges = 16, kLeastSpans = 2; ///< ranges of a row, spans of a range
  /// Weights of one row tile are computed during the products of another, where registers and ports are left beside these.
  bool overlaps() const { return lanes == 16 && maxRows > tileRows && portsBesideProducts && !amx; }
  bool inPairs() const { return cached == PanelFormat::BF16Dot; }
  /// Floats of a row's sums and maximum in memory.
  int64_t stateElements() const { return (valuePanels() + 2) * 16; }
  int64_t valuePanels() const { return (valueSize + 15) / 16; }
  /// Steps of the products: words of a key, and of a block's weights, where these are pairs.
  int64_t keySteps() const { return inPairs() ? (keySize + 1) / 2 : keySize; }
  int64_t blockSteps() const { return inPairs() ? kKeys / 2 : kKeys; }
  /// Floats between queries: room for those that are to be rounded.
  int64_t queryStride() const { return inPairs() ? 2 * keySteps() : keySize; }
  /// Products in tile registers, where `wanted` and words of a key fill one: of `rows` rows, which is how many a span has or a multiple of it.
  void useTiles(bool wanted, int64_t rows);
  AmxTiles::Shape amxShape() const { return tileRows > AmxTiles::kRows ? AmxTiles::Shape{2, 2} : AmxTiles::Shape{1, 4}; }
  /// Rows in scratch: those of a tile may be more than there are.
  int64_t roomRows() const { return amx ? maxRows + tileRows : maxRows; }
  /// For spans of `rows` rows; `tiles`: with products in tile registers where these can be used.
  static AttentionShape forTarget(int64_t keySize, int64_t valueSize, int64_t rows, PanelFormat cached, const Target &target, bool tiles);
};

/// One span of keys [key, key + count). A block has panels of 16 keys [key / 16][keySteps][16] and of 16 value features
/// [feature / 16][blockSteps][16].
struct KeySpan {
  using BlockAddress = std::function<mlir::Value(mlir::Value block)>;
  BlockAddress keys, values; ///< in the span's blocks
  mlir::Value key, count;
  mlir::Value firstBlock = {}; ///< nobody sees the blocks before it; may be null
  BlockAddress next = {};      ///< keys of the span that is taken next, any block; if there, memory is the limit: what comes next is prefetched
};

/// How keys [low, high) are cut: ranges [first, first + count) of as many spans.
struct KeyRanges {
  mlir::Value spans, first, count;
};

class AttentionCore {
public:
  using Values = KernelBuilder::Values;

  /// `scratch`: room for scratchElements() floats.
  AttentionCore(KernelBuilder &b, const AttentionShape &shape, const Target &target, mlir::Value scratch);
  static int64_t scratchElements(const AttentionShape &shape, const Target &target);
  /// Before the first span and after the last one of a work unit.
  void begin();
  void end();

  /// Changes scores of one row at keys [key, key + lanes) of which `count` exist: bias, mask, cap. `row` is what `loadRow` gave.
  std::function<mlir::Value(mlir::Value scores, mlir::ValueRange row, mlir::Value key, mlir::Value count)> adjust;
  std::function<Values(mlir::Value row)> loadRow;
  bool baseE = false; ///< of the scores, after `adjust`

  /// Element type of keys and values; words of two bf16 count as floats.
  mlir::Type cachedElement() const { return shape_.cached == PanelFormat::F16 ? b_.ops().getF16Type() : b_.f32(); }
  /// Where the caller puts the query of a row (keySize floats, scaled).
  mlir::Value query(mlir::Value row);
  /// Prepares a row that sees keys [low, high); neither bound is below that of an earlier row. `sink` (base 2, may be null): a score without a value.
  void startRow(mlir::Value row, mlir::Value low, mlir::Value high, mlir::Value sink = {});
  /// Takes one span into account, for rows [first, first + rows).
  void span(mlir::Value first, mlir::Value rows, const KeySpan &keys);
  /// Writes a row's result (valueSize floats).
  void finishRow(mlir::Value row, mlir::Value to);

  //===--- ranges ---------------------------------------------------------===//

  KeyRanges ranges(mlir::Value low, mlir::Value high);
  /// Joins the ranges that end with span `index`, of rows [0, rows), to those before.
  void endSpan(mlir::Value index, mlir::Value rows);
  /// One range alone: what a row has of it goes to memory (stateElements floats). Later a row is made of such, in their order.
  void storeRange(mlir::Value row, mlir::Value to);
  void startJoin(mlir::Value row, mlir::Value sink);
  void joinRange(mlir::Value row, mlir::Value from);

private:
  struct RowTile {
    mlir::Value first, rows;
    mlir::Value scores;     ///< their buffer
    int64_t staticRows = 0; ///< known height, or 0
    mlir::Value whole = {}; ///< blocks from the first on that all rows see as a whole, whose maxima come from the score tiles; null: from the scores
  };
  /// What is computed during products of values.
  struct Beside {
    RowTile tile; ///< whose weights
    mlir::Value blocks;
  };
  void rowTile(const RowTile &tile, const KeySpan &span);
  void overlappedTiles(mlir::Value first, const RowTiles &tiles, const KeySpan &span);
  KeySpan visibleKeys(const RowTile &tile, const KeySpan &span);
  mlir::Value wholeBlocks(const RowTile &tile, const KeySpan &keys);
  Values valuesBeside(const Beside &beside, const TileShape &shape, TileOperands in, llvm::function_ref<void(mlir::Value block, TileOperands &in)> readBlock,
                      Values sums);
  void visibleTile(const RowTile &tile, const KeySpan &keys);
  void tiledScores(const RowTile &tile, const KeySpan &keys);
  void tiledValues(const RowTile &tile, const KeySpan &keys);
  void copyLastWords(mlir::Value query);
  void readLines(mlir::Value panel);
  /// A row tile reads keys and values once, and its scores more often. Where memory is the limit panels have been prefetched into the first-level cache.
  static bool streamsPanels(const KeySpan &keys) { return !keys.next; }
  void copyLastValues(const KeySpan &keys, mlir::Value keysLeft);
  void forHeight(const RowTile &tile, llvm::function_ref<void(int64_t)> body);
  int64_t panelsAtOnce(int64_t rows) const;
  mlir::Value blockCount(const KeySpan &keys);
  /// Panels of keys, where their scores go, and panels to be prefetched meanwhile (or none).
  struct ScoreTile {
    Values panels, to, next;
    mlir::Value maxima = {}; ///< of rows, a vector each, to be brought up to date; may be null
  };
  void scores(const RowTile &tile, int64_t rows, const KeySpan &keys);
  mlir::Value scoresSideBySide(const RowTile &tile, const TileShape &shape, const KeySpan &keys, mlir::Value firstBlock);
  void scoreTile(mlir::Value first, const TileShape &shape, const ScoreTile &tile);
  mlir::Value scoreBuffer(mlir::Value number) { return part(scores_, number, shape_.tileRows * shape_.span()); }
  mlir::Value keyPanel(mlir::Value block, mlir::Value key) { return b_.address(block, b_.mul(key, shape_.keySteps()), cachedElement()); }
  mlir::Value valuePanel(mlir::Value block, mlir::Value panel) { return b_.address(block, b_.mul(panel, shape_.blockSteps() * 16), cachedElement()); }
  void weightedValues(const RowTile &tile, int64_t rows, const KeySpan &keys, const Beside *beside = nullptr);
  struct SoftmaxRow {
    mlir::Value row, scores; ///< number, and address of its scores of the span
    mlir::Value done = {};   ///< scores [0, done) have been taken into account in `found`: maxima or sums of weights; may be null
    mlir::Value found = {};
  };
  SoftmaxRow rowOf(const RowTile &tile, mlir::Value row) { return {b_.add(tile.first, row), b_.address(tile.scores, b_.mul(row, shape_.span()), b_.f32())}; }
  /// Scores [from, to) of a row, both multiples of 16. Without bounds the row sees all of them.
  struct SoftmaxPart {
    mlir::Value scores, from, to;
    mlir::Value key, count; ///< of the span
    mlir::Value low, high;  ///< keys the row sees, or null
  };
  std::array<SoftmaxPart, 3> softmaxParts(const SoftmaxRow &row, const KeySpan &keys);
  /// Parts that are left, one after the other.
  Values eachPart(const SoftmaxRow &row, const KeySpan &keys, Values found, llvm::function_ref<Values(const SoftmaxPart &, mlir::ValueRange)> body);
  void updateMaximum(const SoftmaxRow &row, const KeySpan &keys);
  void weighRow(const SoftmaxRow &row, const KeySpan &keys, mlir::Value next);
  Values largest(const SoftmaxPart &part, mlir::ValueRange context, Values most);
  mlir::Value weighVector(mlir::Value scores, mlir::Value at, mlir::Value maximum, bool mayHide);
  Values weigh(const SoftmaxPart &part, mlir::Value maximum, Values sums, mlir::Value next);
  mlir::Value visibleWeight(mlir::Value scores, mlir::Value maximum, bool mayHide);
  void rescale(mlir::Value row, mlir::Value before, mlir::Value after);
  /// Addresses of a row's weighted sums of values, sums of weights, and maximum.
  struct RowState {
    mlir::Value output, sums, maximum;
  };
  RowState current(mlir::Value row);
  RowState joined(mlir::Value row);
  RowState stored(mlir::Value at);
  void clear(const RowState &state, mlir::Value sink = {});
  void join(const RowState &into, const RowState &from);
  mlir::Value maskScores(mlir::Value scores, mlir::Value key, mlir::Value low, mlir::Value high);
  TileOperands cachedOperands() const;
  std::function<void(mlir::Value, mlir::Value)> readAhead(const Values &panels, int64_t unroll);
  mlir::Value weight(mlir::Value scores, mlir::Value maximum, bool rough = false);
  mlir::Value part(int64_t offset, mlir::Value row, int64_t rowElements);

  KernelBuilder &b_;
  AttentionShape shape_;
  Bf16Words words_;
  mlir::Value scratch_;
  mlir::VectorType type_;
  /// Element offsets in scratch, behind the queries: weighted sums of values, maxima, partial row sums, scores, what is found in them before a row's
  /// turn comes, bounds of visible keys, and of rows with ranges what is joined.
  int64_t output_, maximum_, sum_, scores_, found_, bounds_, joined_;
  /// With tile registers: values of the last keys, results of a tile that has fewer rows than registers.
  int64_t lastValues_, fewRows_;
  AmxTiles tiles_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ATTENTIONCORE_H
