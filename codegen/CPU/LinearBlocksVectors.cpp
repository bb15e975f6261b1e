//===- LinearBlocksVectors.cpp - row tiles in vectors ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where registers are few, the first row tile of a column tile widens narrow weights into scratch memory as it multiplies them, for all others.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearBlocks.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class VectorBlocks : public BlockWriter {
public:
  using BlockWriter::BlockWriter;

private:
  int64_t groupRows() const override;
  void prepareRows(const RowBlock &rows, Value publish) override;
  void columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) override;
  void product(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value place, const TileBlock &block);
  KernelBuilder::Values startOf(const TileShape &shape, Type element, Value before, Value k0);
  KernelBuilder::Values codeSums(const TileShape &shape, Projection linear, const RowBlock &rows, Value firstRow, const TileBlock &block, ValueRange start);
  TileOperands operands(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile, int64_t height, const TileBlock &block);
  void addPrefetch(TileOperands &in, const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block);
  /// The first row tile widens weights as it multiplies them, beside the multiply-adds. Products of integers take the ports that widening does.
  bool widensInFirst() const { return !context_.problem.integer; }
  void widenPanels(Projection linear, const TileBlock &block);
  KernelBuilder::Values sumsOf(const TileShape &shape, const TileOperands &in, Value isFirst, ValueRange start);
  /// The block's rows: those of the input, or, normed and in words, in scratch.
  Value input(Value firstRow) { return plan_.words ? words() : rowsAsGiven(firstRow); }
};

/// With fewer than 48, weights pass through the caches for too little work; where they come from memory, with fewer than 96.
int64_t VectorBlocks::groupRows() const { return !context_.target.sharedCacheIsFast && weightBytes() > 2 * context_.target.l2Bytes ? 96 : 48; }

void VectorBlocks::prepareRows(const RowBlock &rows, Value publish) {
  Value given = normedRows(rows.firstRow, b_.add(rows.firstRow, rows.rows), publish);
  if (plan_.words)
    emitRowWords(b_, context_, given, rows.rows, plan_.blockRows(), words());
  if (plan_.pack) {
    RowPacking packing{plan_.depth, plan_.kBlock, plan_.tileRows};
    packRows(b_, packing, rowTiles_, rows.first, rows.last, input(rows.firstRow), packed());
  }
}

void VectorBlocks::columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) {
  b_.forLoop(begin, end, plan_.chunk, [&](Value chunkBegin) {
    Value chunkEnd = b_.min(b_.add(chunkBegin, plan_.chunk), end);
    b_.forLoop(b_.index(0), b_.index(plan_.depth), plan_.kBlock, [&](Value k0) {
      b_.forLoop(chunkBegin, chunkEnd, 1, [&](Value tile) {
        TileBlock block = followed(chunkBegin, chunkEnd, tile, k0, panels);
        for (size_t weight = 0; weight < segment.linears.size(); ++weight)
          product(segment, rows, weight, placeOf(block, chunkBegin), block);
      });
    });
  });
}

/// One weight's product of all row tiles with one column tile and one block of K; after the last of all, the epilogue: a cheap
/// one on the registers of the finished tile, others (and those of cut columns) on the sums in memory.
void VectorBlocks::product(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value place, const TileBlock &block) {
  LinearEpilogue epilogue = epilogueOf(segment);
  int64_t width = block.panels * 16;
  if (plan_.widen && context_.codes)
    unpackCodes(segment.linears[weight], block);
  else if (plan_.widen && !widensInFirst())
    widenPanels(segment.linears[weight], block);
  bool last = weight + 1 == segment.linears.size(), direct = last && epilogue.isLight(), cut = segment.columns % 16 != 0;
  Value column = firstColumn(block), no = b_.constantInt(b_.ops().getI1Type(), 0);
  Value isLast = endsAtDepth(block.k0);
  Value isWhole = b_.less(b_.add(column, width - 1), b_.index(segment.columns));
  b_.forLoop(rows.first, rows.last, 1, [&](Value rowTile) {
    Value firstRow = rowTiles_.firstRow(rowTile), height = rowTiles_.rowCount(rowTile);
    Value rowsBefore = keepsSums(segment) ? b_.sub(firstRow, rows.firstRow) : b_.index(0);
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
        in.perStep = [&, panels = std::move(in.perStep)](Value k, Value place) {
          panels(k, place);
          b_.ifThen(b_.less(k, b_.index(epilogue.prefetchSteps(shape) * in.unroll)), [&] { epilogue.prefetchStep(firstRow, column, shape, b_.floorDiv(k, in.unroll)); });
        };
      else if (direct)
        b_.ifThen(isLast, [&] { epilogue.prefetchRows(firstRow, column, shape); });
      KernelBuilder::Values start = startOf(shape, context_.sumElement(b_), own, block.k0);
      KernelBuilder::Values sum = context_.codes ? codeSums(shape, segment.linears[weight], rows, firstRow, block, start) : sumsOf(shape, in, b_.equal(rowTile, rows.first), start);
      if (!direct)
        return storeTile(b_, shape, sum, own, width);
      b_.ifThen(
          cut ? b_.select(isLast, isWhole, no) : isLast,
          [&] { epilogue.emitRegisters(firstRow, column, shape, sum, buffer, productStride()); },
          [&] { storeTile(b_, shape, sum, own, width); });
    };
    switchRows(b_, height, plan_.tileRows, inVectors);
    if (last && (!direct || cut))
      b_.ifThen(direct ? b_.select(isWhole, no, isLast) : isLast,
                [&] { b_.outline([&] { epilogue.emitTile(firstRow, height, column, width, buffer, productStride()); }); });
  });
}

/// The tile's sums before this block of K; `before`: where those of earlier ones lie.
KernelBuilder::Values VectorBlocks::startOf(const TileShape &shape, Type element, Value before, Value k0) {
  KernelBuilder::Values start = zeroTile(b_, shape, element);
  if (plan_.kBlocks == 1)
    return start;
  return b_.ifThen(
      b_.equal(k0, b_.index(0)), ValueRange(start).getTypes(), [&] { return start; },
      [&] { return loadTile(b_, shape, element, before, shape.columns()); });
}

/// Adds the tile's products with this block's codes.
KernelBuilder::Values VectorBlocks::codeSums(const TileShape &shape, Projection linear, const RowBlock &rows, Value firstRow, const TileBlock &block, ValueRange start) {
  Value firstSpan = b_.floorDiv(block.k0, plan_.span), endSpan = b_.floorDiv(b_.add(block.k0, blockDepth(block.k0)), plan_.span);
  CodeOperands in{input(rows.firstRow), b_.sub(firstRow, rows.firstRow), firstSpan, endSpan, plan_.blockRows(), tileOperands(b_, context_, linear), plan_.widen};
  for (int64_t i = 0; i < block.panels; ++i)
    in.tile.panels.push_back(plan_.widen ? widenedPanel(i) : panelOf(linear, block.tile, i));
  return emitCodeTile(b_, *context_.codes, shape, in, start);
}

void VectorBlocks::widenPanels(Projection linear, const TileBlock &block) {
  TileOperands in = tileOperands(b_, context_, linear);
  in.depth = blockDepth(block.k0);
  for (int64_t i = 0; i < block.panels; ++i)
    emitWidenedPanel(b_, in, plan_.lanes, panelBlock(linear, block.tile, i, block.k0), widenedPanel(i));
}

/// Row tiles multiply widened weights; the first one perhaps widens them.
KernelBuilder::Values VectorBlocks::sumsOf(const TileShape &shape, const TileOperands &in, Value isFirst, ValueRange start) {
  if (!plan_.widen)
    return emitTileLoop(b_, shape, in, start);
  TileOperands others = in, first = in;
  others.format = context_.problem.integer ? PanelFormat::ShortDot : PanelFormat::Plain;
  others.panels.clear();
  for (int64_t i = 0; i < shape.panels; ++i)
    others.panels.push_back(widenedPanel(i));
  if (!widensInFirst())
    return emitTileLoop(b_, shape, others, start);
  first.widened = others.panels;
  return b_.ifThen(
      isFirst, start.getTypes(), [&] { return emitTileLoop(b_, shape, first, start); }, [&] { return emitTileLoop(b_, shape, others, start); });
}

TileOperands VectorBlocks::operands(const LinearSegment &segment, const RowBlock &rows, size_t weight, Value rowTile,
                                   int64_t height, const TileBlock &block) {
  Projection linear = segment.linears[weight];
  TileOperands in = tileOperands(b_, context_, linear);
  in.depth = blockDepth(block.k0);
  in.depthMultiple = std::gcd(plan_.depth, plan_.kBlocks == 1 ? plan_.depth : plan_.kBlock);
  // Of many registers tiles are large: LLVM's scheduler spills in longer loops. Sums of integers take a register more.
  in.unroll = context_.target.vectorRegisters >= 32 ? 2 : context_.problem.integer ? 4 : 8;
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
  return in;
}

/// Row tiles prefetch the block that comes next, each a part of one panel, evenly over its own steps; where there are few, a part of all panels. Addresses grow by the same
/// number in each step and all else is computed in front of the loop: on Intel's processors arithmetic with addresses shares two ports with the multiply-adds.
void VectorBlocks::addPrefetch(TileOperands &in, const RowBlock &rows, Value rowTile, Projection linear, const TileBlock &block) {
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
  in.placeGrowth = share;
  in.perStep = [=](Value, Value place) {
    for (Value panel : next) {
      b->prefetch(panel, place, element, /*locality=*/2);
      for (Value offset : further)
        b->prefetch(panel, b->add(place, offset), element, /*locality=*/2);
    }
  };
}

} // namespace

void cpu::emitVectorBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan) { VectorBlocks(b, context, plan).run(); }
