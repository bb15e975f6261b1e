//===- LinearBlocks.cpp - projections of many rows ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearBlocks.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kLine = 64; ///< bytes of the caches

/// Each chunk of column tiles reads the rows of all blocks of K again, which lie in the third-level cache where they are too many for
/// the second; the chunk's unfinished sums need room there too.
static constexpr int64_t kChunkColumns = 192;
static constexpr int64_t kAmxChunkColumns = 768; // products are so fast that reading rows again counts for more

/// A span of codes in steps of depth.
static int64_t spanSteps(const LinearContext &context) { return context.codes ? context.codes->span() / (context.amx ? 2 : 1) : 0; }

/// Whole spans of codes.
static int64_t blockOfDepth(const LinearContext &context, strategy::GemmBucketAttr bucket, int64_t depth) {
  int64_t unit = std::max<int64_t>(1, spanSteps(context));
  return std::min((bucket.getKBlock() + unit - 1) / unit * unit, depth);
}

/// Column tiles whose sums lie in scratch memory. Where products are added to sums that lie there already, two at least: what is pending of the tile before is still read.
static int64_t chunkTiles(const LinearContext &context, strategy::GemmBucketAttr bucket, int64_t kBlocks) {
  int64_t least = context.amx && context.codes ? 2 : 1;
  bool oneRowTile = bucket.getMBlock() == bucket.getRows(); // whose sums stay near anyway
  if (kBlocks == 1 || (context.codes && context.amx && oneRowTile))
    return least;
  return std::max(least, (context.amx ? kAmxChunkColumns : kChunkColumns) / bucket.getColumns());
}

BlockPlan::BlockPlan(const LinearContext &context, strategy::GemmBucketAttr bucket)
    : lanes(context.lanes), depth(context.depth()), tileRows(bucket.getRows()), tilePanels(bucket.getColumns() / 16),
      kBlock(blockOfDepth(context, bucket, depth)), kBlocks((depth + kBlock - 1) / kBlock),
      blockTiles(bucket.getMBlock() / tileRows), chunk(chunkTiles(context, bucket, kBlocks)),
      pack(bucket.getPackInput() && !context.codes),
      widen(context.codes             ? context.codes->unpacks()
            : context.inPairs()       ? context.splitsWeights()
            : context.problem.integer ? !context.byteDot()
                                      : context.target.vectorRegisters < 32 && panelFormat(context.problem.segments[0].linears[0]) != PanelFormat::Plain),
      amx{tileRows / AmxTiles::kRows, tilePanels}, rowTerms(context.rowTerms()), weightTerms(context.weightTerms()),
      splitsSteps(weightTerms > 1 && blockTiles == 1 && kBlocks == 1),
      unpacksSteps(context.codes && context.amx && blockTiles == 1 && kBlocks == 1 && depth >= CodeSteps::kAhead * AmxTiles::kWords),
      words(context.amx ? blockRows() * depth * rowTerms : context.wordElements(blockRows())),
      amxWords(context.amx ? AmxTiles::memoryWords(context.target) + spanSumElements(context) : 0), span(spanSteps(context)) {
  if (context.codes && widen)
    unpackedSpan = context.codes->unpackedSpan();
}

// Each thread gets rows of its own where there are enough of them: rows stay in the core's cache from one stage to the next, are normed
// and packed once, and blocks of rows are of equal height. The number of row groups follows from that of the parts, halved while it is even and
// too large, so that twice as many parts are halves of these (Stage::halves). Unit u of groups * T is column tile u % T of group u / T; a part
// walks its run of units, in each group block by block.
void BlockWriter::run() {
  constexpr int kHalvings = 16;
  Value columns = b_.index(plan_.columnTiles(context_.problem)), one = b_.index(1), tiles = rowTiles_.tiles;
  Value most = b_.max(b_.floorDiv(tiles, std::max<int64_t>(1, groupRows() / plan_.tileRows)), one), groups = b_.parts();
  for (int i = 0; i < kHalvings; ++i) {
    Value isEven = b_.equal(b_.mod(groups, b_.index(2)), b_.index(0));
    groups = b_.select(b_.less(most, groups), b_.select(isEven, b_.floorDiv(groups, 2), groups), groups);
  }
  groups = b_.min(groups, most);
  Value units = b_.mul(b_.mul(groups, columns), b_.min(b_.dim(context_.problem.rows), one)); // none without rows
  Value begin = b_.floorDiv(b_.mul(units, b_.part()), b_.parts()), end = b_.floorDiv(b_.mul(units, b_.add(b_.part(), 1)), b_.parts());
  auto share = [&](Value count, Value index, Value of) { return b_.floorDiv(b_.mul(count, index), of); };
  b_.forLoop(b_.floorDiv(begin, columns), b_.floorDiv(b_.add(end, b_.sub(columns, one)), columns), 1, [&](Value group) {
    Value before = b_.mul(group, columns), first = share(tiles, group, groups), count = b_.sub(share(tiles, b_.add(group, 1), groups), first);
    Value firstColumn = b_.max(b_.sub(begin, before), b_.index(0)), lastColumn = b_.min(b_.sub(end, before), columns);
    Value blocks = b_.floorDiv(b_.add(count, plan_.blockTiles - 1), plan_.blockTiles);
    b_.forLoop(b_.index(0), blocks, 1, [&](Value block) {
      RowBlock rows;
      rows.first = b_.add(first, share(count, block, blocks));
      rows.last = b_.add(first, share(count, b_.add(block, 1), blocks));
      rows.firstRow = rowTiles_.firstRow(rows.first);
      rows.rows = b_.sub(rowTiles_.firstRow(rows.last), rows.firstRow);
      rowBlock(rows, firstColumn, lastColumn);
    });
  });
}

/// All of a block of rows with column tiles [begin, end).
void BlockWriter::rowBlock(const RowBlock &rows, Value begin, Value end) {
  prepareRows(rows, /*publish=*/b_.equal(begin, b_.index(0))); // the part that has the block's first column tile
  int64_t base = 0;
  for (const LinearSegment &part : context_.problem.segments) {
    Value limit = b_.index(plan_.columnTiles(part)), zero = b_.index(0);
    Value first = b_.min(b_.max(b_.sub(begin, b_.index(base)), zero), limit);
    Value last = b_.min(b_.max(b_.sub(end, b_.index(base)), zero), limit);
    segment(part, rows, first, last);
    base += plan_.columnTiles(part);
  }
}

// The last column tile may have fewer panels than the others.
void BlockWriter::segment(const LinearSegment &segment, const RowBlock &rows, Value firstTile, Value lastTile) {
  int64_t whole = segment.panels() / plan_.tilePanels, rest = segment.panels() % plan_.tilePanels;
  if (rest == 0)
    return columnTiles(segment, rows, firstTile, lastTile, plan_.tilePanels);
  Value limit = b_.index(whole);
  if (whole > 0)
    columnTiles(segment, rows, firstTile, b_.min(lastTile, limit), plan_.tilePanels);
  columnTiles(segment, rows, b_.max(firstTile, limit), lastTile, rest);
}

/// The order of computation: tiles of the chunk, then the next block of K, then the next chunk.
BlockWriter::TileBlock BlockWriter::followed(Value chunkBegin, Value chunkEnd, Value tile, Value k0, int64_t panels) {
  if (plan_.kBlocks == 1)
    return {tile, k0, b_.add(tile, 1), k0, panels};
  Value next = b_.add(tile, 1), below = b_.add(k0, plan_.kBlock), zero = b_.index(0);
  Value inChunk = b_.less(next, chunkEnd), isLast = b_.less(b_.index(plan_.depth - 1), below);
  return {tile, k0, b_.select(inChunk, next, b_.select(isLast, chunkEnd, chunkBegin)), b_.select(inChunk, k0, b_.select(isLast, zero, below)), panels};
}

LinearEpilogue BlockWriter::epilogueOf(const LinearSegment &segment) {
  return {b_, context_.shapes, context_.target, segment.results(), segment.outputs, context_.problem.leading, context_.shapes.symbols().constant(segment.columns), plan_.lanes};
}

int64_t BlockWriter::weightBytes() const {
  int64_t bytes = 0;
  for (const LinearSegment &segment : context_.problem.segments)
    bytes += cpu::weightBytes(context_, segment);
  return bytes;
}

Value BlockWriter::normedRows(Value firstRow, Value end, Value publish) {
  Value place = rowsAsGiven(firstRow);
  if (context_.norm)
    context_.norm(b_, firstRow, end, place, publish);
  return place;
}

Value BlockWriter::rowsAsGiven(Value firstRow) {
  if (context_.norm)
    return inScratch(plan_.otherElements(context_.problem.mostWeights()));
  return b_.address(b_.buffer(context_.problem.inputBinding), b_.mul(firstRow, context_.inputStride()), context_.inputElement(b_));
}

Value BlockWriter::blockDepth(Value k0) {
  if (plan_.kBlocks == 1)
    return b_.index(plan_.depth);
  return b_.min(b_.sub(b_.index(plan_.depth), k0), b_.index(plan_.kBlock));
}

/// Address of input k0 of a panel of a column tile.
Value BlockWriter::panelBlock(Projection linear, Value tile, int64_t panel, Value k0) {
  return b_.address(panelOf(linear, tile, panel), b_.mul(k0, context_.splitsWeights() ? 32 : 16), panelElement(b_, tileOperands(b_, context_, linear)));
}

Value BlockWriter::nextCodes(Projection linear, const TileBlock &block, int64_t panel) {
  return b_.address(panelOf(linear, block.nextTile, panel), b_.mul(b_.floorDiv(block.nextK0, plan_.span), context_.codes->spanBytes()), b_.ops().getI8Type());
}

void BlockWriter::prefetchCodes(const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block) {
  int64_t lines = (plan_.kBlock / plan_.span * context_.codes->spanBytes() + kLine - 1) / kLine;
  Value share = b_.add(b_.floorDiv(b_.index(lines), b_.sub(rows.last, rows.first)), 1), begin = b_.mul(b_.sub(rowTile, rows.first), share);
  KernelBuilder::Values panels;
  for (int64_t i = 0; i < block.panels; ++i)
    panels.push_back(nextCodes(linear, block, i));
  b_.forLoop(begin, b_.min(b_.add(begin, share), b_.index(lines)), 1, [&](Value line) {
    for (Value panel : panels)
      b_.prefetch(panel, b_.mul(line, kLine), b_.ops().getI8Type(), /*locality=*/2);
  });
}

void BlockWriter::unpackCodes(Projection linear, const TileBlock &block, bool prefetchesNext) {
  const CodeProducts &codes = *context_.codes;
  Value first = b_.floorDiv(block.k0, plan_.span), end = b_.floorDiv(b_.add(block.k0, blockDepth(block.k0)), plan_.span);
  for (int64_t i = 0; i < block.panels; ++i) {
    Value next = nextCodes(linear, block, i);
    emitUnpackedCodes(b_, codes, tileOperands(b_, context_, linear), plan_.lanes, panelOf(linear, block.tile, i), first, end, widenedPanel(i), [&](Value span) {
      if (prefetchesNext)
        for (int64_t line = 0; line < codes.spanBytes(); line += kLine)
          b_.prefetch(next, b_.add(b_.mul(span, codes.spanBytes()), line), b_.ops().getI8Type(), /*locality=*/2);
    });
  }
}

int64_t cpu::emitLinearBlocks(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket) {
  BlockPlan plan(context, bucket);
  context.amx ? emitTileRegisterBlocks(b, context, plan) : emitVectorBlocks(b, context, plan);
  return (plan.otherElements(context.problem.mostWeights()) + context.normElements(plan.normRows())) * 4;
}

SymExpr cpu::linearBlockUnits(const LinearContext &context, strategy::GemmBucketAttr bucket) {
  BlockPlan plan(context, bucket);
  SymContext &symbols = context.shapes.symbols();
  SymExpr rowTiles = symbols.ceilDiv(context.problem.rows, symbols.constant(plan.tileRows));
  SymExpr rowBlocks = symbols.ceilDiv(rowTiles, symbols.constant(plan.blockTiles));
  return symbols.mul(rowBlocks, symbols.constant(plan.columnTiles(context.problem)));
}
