//===- LinearBlocks.cpp - projections of many rows ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bound by multiply-adds. Loops, from the outside:
//
//   row block        as many rows as fit into half the second-level cache for one block of K
//   column chunk     column tiles whose unfinished sums are kept in scratch memory while K is walked
//   block of K
//   column tile      one to four panels; its block of K is read from the first- and second-level cache by all row tiles, while
//                    the next tile's block is prefetched, spread evenly over the row tiles. Where registers are few, narrow
//                    weights are widened into scratch memory first
//   weight           of a gated pair
//   row tile         the register tile, in vectors or (Intel AMX) in tile registers
//
// Sums continue from one block of K to the next as one chain, so blocks change no bits.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxTiles.h"
#include "codegen/CPU/LinearEpilogue.h"
#include "codegen/CPU/LinearPacking.h"
#include "codegen/CPU/LinearStream.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Each chunk of column tiles reads the rows of all blocks of K again, which lie in the third-level cache where they are too many for
/// the second; the chunk's unfinished sums need room there too.
constexpr int64_t kChunkColumns = 192;
constexpr int64_t kAmxChunkColumns = 768; // products are so fast that reading rows again counts for more

/// Numbers of the loops, all known when compiling.
struct BlockPlan {
  BlockPlan(const LinearContext &context, strategy::GemmBucketAttr bucket);

  int64_t lanes, depth, tileRows, tilePanels, kBlock, kBlocks, blockTiles, chunk;
  bool pack, widen;
  AmxTiles::Shape amx; ///< of a register tile
  int64_t words;       ///< of the rows of a block; 0 where they are taken as they are
  int64_t amxWords;    ///< what tile registers need
  int64_t span = 0, unpackedSpan = 0; ///< inputs of a span of codes, and words of it where they are unpacked
  /// Room for rows of a block: row tiles are never higher than tileRows.
  int64_t blockRows() const { return blockTiles * tileRows; }
  int64_t columnTiles(const LinearSegment &segment) const { return (segment.panels() + tilePanels - 1) / tilePanels; }
  int64_t columnTiles(const LinearProblem &problem) const {
    int64_t sum = 0;
    for (const LinearSegment &segment : problem.segments)
      sum += columnTiles(segment);
    return sum;
  }
  /// Elements of scratch: unfinished sums of a chunk for each weight, the packed rows, widened panels, the rows in words.
  int64_t sumElements(int64_t weights) const { return weights * chunk * blockRows() * tilePanels * 16; }
  int64_t packedElements() const { return pack ? (blockRows() * depth + 79) / 16 * 16 : 0; }
  int64_t widenedElements() const { return widen ? tilePanels * widenedPanel() : 0; }
  int64_t widenedPanel() const { return unpackedSpan ? kBlock / span * unpackedSpan : (kBlock + 1) / 2 * 32; }
  /// Before the rows that a norm in front gives.
  int64_t otherElements(int64_t weights) const { return sumElements(weights) + packedElements() + widenedElements() + words + amxWords; }
};

/// Whole spans of codes.
int64_t blockOfDepth(const LinearContext &context, strategy::GemmBucketAttr bucket, int64_t depth) {
  int64_t unit = context.codes ? context.codes->span() : 1;
  return std::min((bucket.getKBlock() + unit - 1) / unit * unit, depth);
}

BlockPlan::BlockPlan(const LinearContext &context, strategy::GemmBucketAttr bucket)
    : lanes(context.lanes), depth(context.depth()), tileRows(bucket.getRows()), tilePanels(bucket.getColumns() / 16),
      kBlock(blockOfDepth(context, bucket, depth)), kBlocks((depth + kBlock - 1) / kBlock),
      blockTiles(bucket.getMBlock() / tileRows), chunk(kBlocks > 1 ? std::max<int64_t>(1, (context.amx ? kAmxChunkColumns : kChunkColumns) / bucket.getColumns()) : 1),
      pack(bucket.getPackInput() && !context.codes),
      widen(context.codes             ? context.codes->unpacks()
            : context.problem.integer ? !context.byteDot()
                                      : context.target.vectorRegisters < 32 && !context.inWords() && panelFormat(context.problem.segments[0].linears[0]) != PanelFormat::Plain),
      amx{tileRows / AmxTiles::kRows, tilePanels}, words(context.amx ? blockRows() * depth : context.wordElements(blockRows())),
      amxWords(context.amx ? AmxTiles::memoryWords(context.target) : 0) {
  if (context.codes && widen)
    span = context.codes->span(), unpackedSpan = context.codes->unpackedSpan();
}

class BlockWriter {
public:
  BlockWriter(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan)
      : b_(b), context_(context), plan_(plan), rowTiles_(b, b.dim(context.problem.rows), plan.tileRows),
        tiles_(b, context.target, context.bf16Products ? PanelFormat::BF16Dot : PanelFormat::ByteDot, inScratch(plan.otherElements(context.problem.mostWeights()) - plan.amxWords)) {}

  void run();

private:
  /// Row tiles [first, last) and the rows before and in them.
  struct RowBlock {
    Value first, last, firstRow, rows;
  };
  /// A block of K of a column tile, and the one that is computed after it.
  struct TileBlock {
    Value tile, k0, nextTile, nextK0;
    int64_t panels;
  };
  void rowBlock(const RowBlock &rows, Value begin, Value end);
  void configureTiles();
  void packRegisters(const RowBlock &rows);
  void segment(const LinearSegment &segment, const RowBlock &rows, Value firstTile, Value lastTile);
  void columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels);
  TileBlock followed(Value chunkBegin, Value chunkEnd, Value tile, Value k0);
  void product(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value place, const TileBlock &block);
  void tileSums(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile, const TileBlock &block, Value own);
  KernelBuilder::Values startOf(const TileShape &shape, Type element, Value before, Value k0);
  void prefetchCodes(const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block);
  KernelBuilder::Values codeSums(const TileShape &shape, Projection linear, const RowBlock &rows, Value firstRow, const TileBlock &block, ValueRange start);
  TileOperands operands(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile, int64_t height, const TileBlock &block);
  void addPrefetch(TileOperands &in, const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block);
  void widenPanels(Projection linear, const TileBlock &block);
  Value panelBlock(Projection linear, Value tile, int64_t panel, Value k0);
  Value blockDepth(Value k0);
  Value endOfSpans(Value k0);
  int64_t weightBytes() const {
    int64_t words = 0;
    for (const LinearSegment &segment : context_.problem.segments)
      words += int64_t(segment.linears.size()) * segment.panels() * 16 * plan_.depth;
    return 4 * words;
  }
  Value inScratch(int64_t element) { return b_.address(b_.scratch(), b_.index(element), b_.f32()); }
  Value sums() { return b_.scratch(); }
  Value packed() { return inScratch(plan_.sumElements(context_.problem.mostWeights())); }
  /// The block's rows: those of the input, or, normed and in words, in scratch.
  Value input(Value firstRow) { return plan_.words ? words() : rowsAsGiven(firstRow); }
  Value words() { return b_.address(widened(), b_.index(plan_.widenedElements()), b_.f32()); }
  Value rowsAsGiven(Value firstRow) {
    if (context_.norm)
      return inScratch(plan_.otherElements(context_.problem.mostWeights()));
    return b_.address(b_.buffer(context_.problem.inputBinding), b_.mul(firstRow, context_.inputStride()), context_.inputElement(b_));
  }
  /// A register's rows: those of row tile `tile` of the block.
  Value registerAt(Value tile, Value number) {
    return b_.address(words(), b_.mul(b_.add(b_.mul(tile, plan_.amx.rows), number), AmxTiles::kRows * plan_.depth), b_.f32());
  }
  Value widened() { return inScratch(plan_.sumElements(context_.problem.mostWeights()) + plan_.packedElements()); }
  Value widenedPanel(int64_t i) { return b_.address(widened(), b_.index(i * plan_.widenedPanel()), b_.f32()); }
  int64_t productStride() const { return plan_.chunk * plan_.blockRows() * plan_.tilePanels * 16; }

  KernelBuilder &b_;
  const LinearContext &context_;
  const BlockPlan &plan_;
  RowTiles rowTiles_;
  AmxTiles tiles_;
  Value registerRows_; ///< of a tile register
};

// Each thread gets rows of its own where there are enough of them: rows stay in the core's cache from one stage to the next, are normed
// and packed once, and blocks of rows are of equal height. The number of row groups follows from that of the parts, halved while it is even and
// too large, so that twice as many parts are halves of these (Stage::halves). Unit u of groups * T is column tile u % T of group u / T; a part
// walks its run of units, in each group block by block.
void BlockWriter::run() {
  if (context_.amx)
    configureTiles();
  // With fewer, weights would pass through the caches for too little work; tile registers do that of 256 rows in the time that weights take to come from memory.
  const int64_t groupRows = context_.amx && weightBytes() > context_.target.l2Bytes ? 256 : 48;
  constexpr int kHalvings = 16;
  Value columns = b_.index(plan_.columnTiles(context_.problem)), one = b_.index(1), tiles = rowTiles_.tiles;
  Value most = b_.max(b_.floorDiv(tiles, std::max<int64_t>(1, groupRows / plan_.tileRows)), one), groups = b_.parts();
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
  if (context_.amx)
    tiles_.release();
}

/// One configuration for all row tiles. Those that are smaller than the highest one compute up to two rows more than they have, which nobody reads.
void BlockWriter::configureTiles() {
  Value rows = b_.dim(context_.problem.rows), registers = b_.mul(rowTiles_.tiles, plan_.amx.rows);
  registerRows_ = b_.max(b_.floorDiv(b_.add(rows, b_.add(registers, -1)), registers), b_.index(1));
  tiles_.configure(registerRows_);
}

/// All of a block of rows with column tiles [begin, end).
void BlockWriter::rowBlock(const RowBlock &rows, Value begin, Value end) {
  if (context_.norm) // the part that has the block's first column tile also stores the normed rows
    context_.norm(b_, rows.firstRow, b_.add(rows.firstRow, rows.rows), rowsAsGiven(rows.firstRow), b_.equal(begin, b_.index(0)));
  if (context_.amx)
    packRegisters(rows);
  else if (plan_.words)
    emitRowWords(b_, context_, rowsAsGiven(rows.firstRow), rows.rows, plan_.blockRows(), words());
  if (plan_.pack) {
    RowPacking packing{plan_.depth, plan_.kBlock, plan_.tileRows};
    packRows(b_, packing, rowTiles_, rows.first, rows.last, input(rows.firstRow), packed());
  }
  int64_t base = 0;
  for (const LinearSegment &part : context_.problem.segments) {
    Value limit = b_.index(plan_.columnTiles(part)), zero = b_.index(0);
    Value first = b_.min(b_.max(b_.sub(begin, b_.index(base)), zero), limit);
    Value last = b_.min(b_.max(b_.sub(end, b_.index(base)), zero), limit);
    segment(part, rows, first, last);
    base += plan_.columnTiles(part);
  }
}

/// Rows in words to [register][step of 16 words][row of the register][16]: one stream for a register instead of one for each row, of which prefetchers lose track.
void BlockWriter::packRegisters(const RowBlock &rows) {
  Bf16Words rounding(b_, context_.target.bf16Dot);
  VectorType words = b_.vec(AmxTiles::kWords, b_.i32()), floats = b_.vec(AmxTiles::kWords, b_.f32());
  Type element = context_.inputElement(b_);
  bool rounds = context_.bf16Products && !context_.roundedInput;
  int64_t stepElements = (context_.inputStride() * AmxTiles::kWords) / plan_.depth;
  Value given = rowsAsGiven(rows.firstRow), stepWords = b_.mul(registerRows_, AmxTiles::kWords);
  auto pack = [&](Value from, Value to, Value step) {
    Value source = b_.mul(step, stepElements), target = b_.address(to, b_.mul(step, stepWords), b_.f32());
    if (!rounds)
      return b_.store(b_.load(words, b_.address(from, source, element), b_.index(0), 1), target, b_.index(0));
    for (int64_t half = 0; half < 2; ++half)
      b_.store(rounding.round(b_.load(floats, from, b_.add(source, half * AmxTiles::kWords))), target, b_.index(half * AmxTiles::kWords));
  };
  // A few steps of all rows at a time: what is written fits into the first-level cache.
  constexpr int64_t kSteps = 4;
  int64_t steps = plan_.depth / AmxTiles::kWords, whole = steps / kSteps * kSteps;
  b_.forLoop(rows.first, rows.last, 1, [&](Value rowTile) {
    Value before = b_.sub(rowTiles_.firstRow(rowTile), rows.firstRow), height = rowTiles_.rowCount(rowTile), tile = b_.sub(rowTile, rows.first);
    b_.forLoop(b_.index(0), b_.index(plan_.amx.rows), 1, [&](Value number) {
      Value first = b_.mul(number, registerRows_), count = b_.min(b_.sub(height, first), registerRows_), packed = registerAt(tile, number);
      auto eachRow = [&](Value step, int64_t together) {
        b_.forLoop(b_.index(0), count, 1, [&](Value row) {
          Value from = b_.address(given, b_.mul(b_.add(before, b_.add(first, row)), context_.inputStride()), element);
          Value to = b_.address(packed, b_.mul(row, AmxTiles::kWords), b_.f32());
          for (int64_t i = 0; i < together; ++i)
            pack(from, to, b_.add(step, i));
        });
      };
      b_.forLoop(b_.index(0), b_.index(whole), kSteps, [&](Value step) { eachRow(step, kSteps); });
      if (whole < steps)
        eachRow(b_.index(whole), steps - whole);
    });
  });
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

void BlockWriter::columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) {
  b_.forLoop(begin, end, plan_.chunk, [&](Value chunkBegin) {
    Value chunkEnd = b_.min(b_.add(chunkBegin, plan_.chunk), end);
    b_.forLoop(b_.index(0), b_.index(plan_.depth), plan_.kBlock, [&](Value k0) {
      b_.forLoop(chunkBegin, chunkEnd, 1, [&](Value tile) {
        Value place = b_.mul(b_.sub(tile, chunkBegin), plan_.blockRows() * plan_.tilePanels * 16);
        TileBlock block = followed(chunkBegin, chunkEnd, tile, k0);
        block.panels = panels;
        for (size_t weight = 0; weight < segment.linears.size(); ++weight)
          product(segment, rows, weight, place, block);
      });
    });
  });
}

/// The order of computation: tiles of the chunk, then the next block of K, then the next chunk.
BlockWriter::TileBlock BlockWriter::followed(Value chunkBegin, Value chunkEnd, Value tile, Value k0) {
  if (plan_.kBlocks == 1)
    return {tile, k0, b_.add(tile, 1), k0, 0};
  Value next = b_.add(tile, 1), below = b_.add(k0, plan_.kBlock), zero = b_.index(0);
  Value inChunk = b_.less(next, chunkEnd), isLast = b_.less(b_.index(plan_.depth - 1), below);
  return {tile, k0, b_.select(inChunk, next, b_.select(isLast, chunkEnd, chunkBegin)), b_.select(inChunk, k0, b_.select(isLast, zero, below)), 0};
}

/// One weight's product of all row tiles with one column tile and one block of K; after the last of all, the epilogue: a cheap
/// one on the registers of the finished tile, others (and those of cut columns) on the sums in memory.
void BlockWriter::product(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value place, const TileBlock &block) {
  llvm::SmallVector<Value> products;
  for (Projection linear : segment.linears)
    products.push_back(linear.getResult());
  LinearEpilogue epilogue(b_, context_.shapes, context_.target, products, segment.outputs, context_.problem.leading,
                          context_.shapes.symbols().constant(segment.columns), plan_.lanes);
  int64_t width = block.panels * 16;
  if (plan_.widen)
    widenPanels(segment.linears[weight], block);
  bool last = weight + 1 == segment.linears.size(), direct = last && !context_.amx && epilogue.isLight(), cut = segment.columns % 16 != 0;
  Value column = b_.mul(block.tile, plan_.tilePanels * 16), no = b_.constantInt(b_.ops().getI1Type(), 0);
  Value isLast = b_.less(b_.index((plan_.kBlocks - 1) * plan_.kBlock - 1), block.k0);
  Value isWhole = b_.less(b_.add(column, width - 1), b_.index(segment.columns));
  b_.forLoop(rows.first, rows.last, 1, [&](Value rowTile) {
    Value firstRow = rowTiles_.firstRow(rowTile), height = rowTiles_.rowCount(rowTile);
    // Sums that nobody needs later stay in the first-level cache.
    bool keeps = plan_.kBlocks > 1 || segment.linears.size() > 1;
    Value rowsBefore = !keeps ? b_.index(0) : context_.amx ? b_.mul(b_.sub(rowTile, rows.first), plan_.tileRows) : b_.sub(firstRow, rows.firstRow);
    Value inBlock = b_.add(place, b_.mul(rowsBefore, width));
    Value buffer = b_.address(sums(), inBlock, b_.f32());
    Value own = b_.address(buffer, b_.index(int64_t(weight) * productStride()), b_.f32());
    if (context_.codes)
      prefetchCodes(rows, rowTile, segment.linears[weight], block);
    auto inVectors = [&](int64_t count) {
      TileShape shape{count, block.panels, plan_.lanes};
      TileOperands in;
      if (!context_.codes)
        in = operands(segment, rows, weight, rowTile, count, block);
      // During the product, where its loop has room for the arithmetic: where something is widened there too or K is cut (panels are then
      // prefetched across gaps) LLVM's scheduler would spill, and in small tiles it would be in the multiply-adds' way.
      bool isPlain = in.format == PanelFormat::Plain || in.format == PanelFormat::BF16Dot;
      if (direct && isPlain && plan_.kBlocks == 1 && !context_.codes && context_.target.vectorRegisters >= 32)
        in.perStep = [&, panels = std::move(in.perStep)](Value k) {
          panels(k);
          b_.ifThen(b_.less(k, b_.index(epilogue.prefetchSteps(shape) * in.unroll)), [&] { epilogue.prefetchStep(firstRow, column, shape, b_.floorDiv(k, in.unroll)); });
        };
      else if (direct)
        b_.ifThen(isLast, [&] { epilogue.prefetchRows(firstRow, column, shape); });
      KernelBuilder::Values start = startOf(shape, context_.sumElement(b_), own, block.k0);
      KernelBuilder::Values sum = context_.codes ? codeSums(shape, segment.linears[weight], rows, firstRow, block, start) : emitTileLoop(b_, shape, in, start);
      if (!direct)
        return storeTile(b_, shape, sum, own, width);
      b_.ifThen(
          cut ? b_.select(isLast, isWhole, no) : isLast,
          [&] { epilogue.emitRegisters(firstRow, column, shape, sum, buffer, productStride()); },
          [&] { storeTile(b_, shape, sum, own, width); });
    };
    if (context_.amx)
      tileSums(segment, rows, weight, rowTile, block, own);
    else
      switchRows(b_, height, plan_.tileRows, inVectors);
    if (last && (!direct || cut))
      b_.ifThen(direct ? b_.select(isWhole, no, isLast) : isLast,
                [&] { b_.outline([&] { epilogue.emitTile(firstRow, height, column, width, buffer, productStride()); }); });
  });
}

/// The tile's sums in tile registers, from and to the address `own`.
void BlockWriter::tileSums(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile, const TileBlock &block, Value own) {
  AmxTiles::Shape shape{plan_.amx.rows, block.panels};
  TileOperands in = tileOperands(b_, context_, segment.linears[weight]);
  in.depth = blockDepth(block.k0);
  in.unroll = AmxTiles::kWords;
  for (int64_t i = 0; i < block.panels; ++i)
    in.panels.push_back(panelBlock(segment.linears[weight], block.tile, i, block.k0));
  addPrefetch(in, rows, rowTile, segment.linears[weight], block);
  llvm::SmallVector<Value> lefts;
  for (int64_t number = 0; number < shape.rows; ++number)
    lefts.push_back(b_.address(registerAt(b_.sub(rowTile, rows.first), b_.index(number)), b_.mul(block.k0, registerRows_), b_.f32()));
  auto zero = [&] { tiles_.zeroSums(shape); };
  if (plan_.kBlocks == 1)
    zero();
  else
    b_.ifThen(b_.equal(block.k0, b_.index(0)), zero, [&] { tiles_.loadSums(shape, own, shape.panels * AmxTiles::kWords); });
  b_.forLoop(b_.index(0), in.depth, in.unroll, [&](Value k) {
    in.perStep(k);
    auto at = [&](ArrayRef<Value> starts, Value step) {
      llvm::SmallVector<Value> addresses;
      for (Value start : starts)
        addresses.push_back(b_.address(start, b_.mul(k, step), b_.f32()));
      return addresses;
    };
    tiles_.multiplyAdd(shape, at(lefts, registerRows_), b_.index(AmxTiles::kWords), at(in.panels, b_.index(AmxTiles::kWords)));
  });
  tiles_.storeSums(shape, own, shape.panels * AmxTiles::kWords);
}

/// The tile's sums before this block of K; `before`: where those of earlier ones lie.
KernelBuilder::Values BlockWriter::startOf(const TileShape &shape, Type element, Value before, Value k0) {
  KernelBuilder::Values start = zeroTile(b_, shape, element);
  if (plan_.kBlocks == 1)
    return start;
  return b_.ifThen(
      b_.equal(k0, b_.index(0)), ValueRange(start).getTypes(), [&] { return start; },
      [&] { return loadTile(b_, shape, element, before, shape.columns()); });
}

/// Row tile i of n prefetches the i-th part of the codes that come next.
void BlockWriter::prefetchCodes(const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block) {
  constexpr int64_t kLine = 64;
  const CodeProducts &codes = *context_.codes;
  int64_t lines = (plan_.kBlock / codes.span() * codes.spanBytes() + kLine - 1) / kLine;
  Value share = b_.add(b_.floorDiv(b_.index(lines), b_.sub(rows.last, rows.first)), 1), begin = b_.mul(b_.sub(rowTile, rows.first), share);
  Value at = b_.mul(b_.floorDiv(block.nextK0, codes.span()), codes.spanBytes());
  KernelBuilder::Values panels;
  for (int64_t i = 0; i < block.panels; ++i)
    panels.push_back(b_.address(panelAddress(b_, context_, linear, b_.add(b_.mul(block.nextTile, plan_.tilePanels), i)), at, b_.ops().getI8Type()));
  b_.forLoop(begin, b_.min(b_.add(begin, share), b_.index(lines)), 1, [&](Value line) {
    for (Value panel : panels)
      b_.prefetch(panel, b_.mul(line, kLine), b_.ops().getI8Type(), /*locality=*/2);
  });
}

/// Adds the tile's products with this block's codes.
KernelBuilder::Values BlockWriter::codeSums(const TileShape &shape, Projection linear, const RowBlock &rows, Value firstRow, const TileBlock &block, ValueRange start) {
  int64_t span = context_.codes->span();
  Value endSpan = endOfSpans(block.k0);
  CodeOperands in{input(rows.firstRow), b_.sub(firstRow, rows.firstRow), b_.floorDiv(block.k0, span), endSpan, plan_.blockRows(), tileOperands(b_, context_, linear), plan_.widen};
  for (int64_t i = 0; i < block.panels; ++i)
    in.tile.panels.push_back(plan_.widen ? widenedPanel(i) : panelAddress(b_, context_, linear, b_.add(b_.mul(block.tile, plan_.tilePanels), i)));
  return emitCodeTile(b_, *context_.codes, shape, in, start);
}

Value BlockWriter::blockDepth(Value k0) {
  if (plan_.kBlocks == 1)
    return b_.index(plan_.depth);
  return b_.min(b_.sub(b_.index(plan_.depth), k0), b_.index(plan_.kBlock));
}

/// Address of input k0 of a panel of a column tile.
Value BlockWriter::panelBlock(Projection linear, Value tile, int64_t panel, Value k0) {
  Value start = panelAddress(b_, context_, linear, b_.add(b_.mul(tile, plan_.tilePanels), panel));
  return b_.address(start, b_.mul(k0, 16), panelElement(b_, tileOperands(b_, context_, linear)));
}

/// One past the last span of codes of the block of K at k0.
Value BlockWriter::endOfSpans(Value k0) { return b_.min(b_.index(context_.codes->spans()), b_.floorDiv(b_.add(k0, plan_.kBlock), context_.codes->span())); }

void BlockWriter::widenPanels(Projection linear, const TileBlock &block) {
  TileOperands in = tileOperands(b_, context_, linear);
  if (context_.codes) {
    for (int64_t i = 0; i < block.panels; ++i)
      emitUnpackedCodes(b_, *context_.codes, in, plan_.lanes, panelAddress(b_, context_, linear, b_.add(b_.mul(block.tile, plan_.tilePanels), i)),
                        b_.floorDiv(block.k0, context_.codes->span()), endOfSpans(block.k0), widenedPanel(i));
    return;
  }
  in.depth = blockDepth(block.k0);
  for (int64_t i = 0; i < block.panels; ++i)
    emitWidenedPanel(b_, in, plan_.lanes, panelBlock(linear, block.tile, i, block.k0), widenedPanel(i));
}

TileOperands BlockWriter::operands(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile,
                                   int64_t height, const TileBlock &block) {
  Projection linear = segment.linears[weight];
  TileOperands in = tileOperands(b_, context_, linear);
  in.depth = blockDepth(block.k0);
  in.depthMultiple = std::gcd(plan_.depth, plan_.kBlocks == 1 ? plan_.depth : plan_.kBlock);
  if (context_.target.vectorRegisters >= 32)
    in.unroll = 2; // tiles are large: LLVM's scheduler spills in longer loops
  Value firstRow = rowTiles_.firstRow(rowTile);
  if (plan_.pack) {
    Value local = b_.sub(firstRow, rows.firstRow);
    in.a = b_.address(packed(), b_.add(b_.mul(block.k0, rows.rows), b_.mul(local, in.depth)), b_.f32());
    in.aRow = 1;
    in.aStep = height;
  } else {
    in.a = b_.address(input(rows.firstRow), b_.add(b_.mul(b_.sub(firstRow, rows.firstRow), plan_.depth), block.k0), b_.f32());
    in.aRow = plan_.depth;
  }
  for (int64_t i = 0; i < block.panels; ++i)
    in.panels.push_back(panelBlock(linear, block.tile, i, block.k0));
  addPrefetch(in, rows, rowTile, linear, block);
  if (plan_.widen) {
    in.format = context_.problem.integer ? PanelFormat::ShortDot : PanelFormat::Plain;
    for (int64_t i = 0; i < block.panels; ++i)
      in.panels[size_t(i)] = widenedPanel(i);
  }
  return in;
}

/// Row tiles prefetch the block that comes next, each a part of one panel, evenly over its own steps; where there are few, a part of all panels. Addresses grow by the same
/// number in each step and all else is computed in front of the loop: on Intel's processors arithmetic with addresses shares two ports with the multiply-adds.
void BlockWriter::addPrefetch(TileOperands &in, const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block) {
  Type element = panelElement(b_, in);
  bool all = plan_.blockTiles <= 4;
  int64_t fewestTiles = all ? 1 : std::max<int64_t>(1, 4 / block.panels); // for each panel
  int64_t line = 512 / element.getIntOrFloatBitWidth(), lines = (16 * in.unroll / fewestTiles + line - 1) / line;
  Value tiles = b_.sub(rows.last, rows.first), index = b_.sub(rowTile, rows.first), panel = b_.index(0);
  if (!all) {
    tiles = b_.max(b_.floorDiv(tiles, block.panels), b_.index(1));
    panel = b_.mod(index, b_.index(block.panels));
    index = b_.floorDiv(index, block.panels);
  }
  // Elements for each input, and from there on the further lines of a step.
  Value share = b_.add(b_.floorDiv(b_.index(16), tiles), 1), begin = b_.mul(b_.mul(index, share), in.depth);
  llvm::SmallVector<Value> next, further;
  for (int64_t i = 0; i < (all ? block.panels : 1); ++i)
    next.push_back(b_.address(panelAddress(b_, context_, linear, b_.add(b_.mul(block.nextTile, plan_.tilePanels), b_.add(panel, i))),
                              b_.add(b_.mul(block.nextK0, 16), begin), element));
  for (int64_t i = 1; i < lines; ++i)
    further.push_back(b_.min(b_.index(i * line), b_.add(b_.mul(share, in.unroll), -1)));
  KernelBuilder *b = &b_;
  in.perStep = [=](Value k) {
    Value place = b->mul(k, share);
    for (Value panel : next) {
      b->prefetch(panel, place, element, /*locality=*/2);
      for (Value offset : further)
        b->prefetch(panel, b->add(place, offset), element, /*locality=*/2);
    }
  };
}

} // namespace

int64_t cpu::emitLinearBlocks(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket) {
  BlockPlan plan(context, bucket);
  BlockWriter(b, context, plan).run();
  return (plan.otherElements(context.problem.mostWeights()) + context.normElements(plan.blockRows())) * 4;
}

SymExpr cpu::linearBlockUnits(const LinearContext &context, strategy::GemmBucketAttr bucket) {
  BlockPlan plan(context, bucket);
  SymContext &symbols = context.shapes.symbols();
  SymExpr rowTiles = symbols.ceilDiv(context.problem.rows, symbols.constant(plan.tileRows));
  SymExpr rowBlocks = symbols.ceilDiv(rowTiles, symbols.constant(plan.blockTiles));
  return symbols.mul(rowBlocks, symbols.constant(plan.columnTiles(context.problem)));
}
