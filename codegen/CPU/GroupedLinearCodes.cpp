//===- GroupedLinearCodes.cpp - experts' rows by codes, in vectors --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An expert's rows lie anywhere: blocks of them become digits that lie one after the other. Then, for each column tile, a block of K of its codes (unpacked where that takes as long as
// multiplying) meets all row tiles, whose sums wait in scratch memory. A row that is its expert's only one is multiplied as that of a single token.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/GroupedLinear.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class GroupedCodes : public GroupedWriter {
public:
  GroupedCodes(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket)
      : GroupedWriter(b, context, problem), codes_(*context.codes), tileRows_(bucket.getRows()), tilePanels_(bucket.getColumns() / 16), blockRows_(bucket.getMBlock()),
        blockSpans_(std::min((bucket.getKBlock() + codes_.span() - 1) / codes_.span(), codes_.spans())) {}

  int64_t tilePanels() const { return tilePanels_; }
  int64_t scratchElements() const { return digitsPlace() + codes_.elements(blockRows_); }

private:
  void columns(Value firstPanel, Value first, Value last) override {
    auto fetch = [&](Value place, Value count) {
      emitRowDigits(b_, codes_, context_.lanes, input_, count, blockRows_, digits(), [&](Value row) { return inputRow(slotAt(b_.add(place, row))); });
    };
    auto alone = [&] {
      fetch(first, b_.index(1));
      streamCodes(firstPanel, panelOf(b_.unitBegin(), tilePanels_), panelOf(b_.unitEnd(), tilePanels_), first, {digits(), b_.index(0), blockRows_});
    };
    b_.ifThen(b_.equal(b_.sub(last, first), b_.index(1)), alone, [&] {
      rowBlocks(first, last, blockRows_, tilePanels_, fetch, [&](Value place, Value count, Value panel, int64_t panels) {
        products(b_.add(firstPanel, panel), panels, count);
        finish(place, count, panel, panels, productStride());
      });
    });
  }

  void products(Value panel, int64_t panels, Value count);
  void rowTile(const TileShape &shape, const CodeOperands &in, Value sums);

  int64_t productStride() const { return blockRows_ * tilePanels_ * 16; }
  int64_t unpackedPlace() const { return problem_.weights() * productStride(); }
  int64_t unpackedPanel() const { return codes_.unpacks() ? blockSpans_ * codes_.unpackedSpan() : 0; }
  int64_t digitsPlace() const { return unpackedPlace() + tilePanels_ * unpackedPanel(); }
  Value inScratch(int64_t element) { return b_.address(b_.scratch(), b_.index(element), b_.f32()); }
  Value digits() { return inScratch(digitsPlace()); }

  const CodeProducts &codes_;
  int64_t tileRows_, tilePanels_, blockRows_, blockSpans_;
};

/// Sums of `count` rows, from the block's first one on, with `panels` panels of each weight.
void GroupedCodes::products(Value panel, int64_t panels, Value count) {
  RowTiles tiles(b_, count, tileRows_);
  for (auto [weight, linear] : llvm::enumerate(problem_.segment().linears)) {
    KernelBuilder::Values packed;
    for (int64_t i = 0; i < panels; ++i)
      packed.push_back(panelAddress(b_, context_, linear, b_.add(panel, i)));
    b_.forLoop(b_.index(0), b_.index(codes_.spans()), blockSpans_, [&](Value span) {
      CodeOperands in{digits(), {}, span, b_.min(b_.add(span, blockSpans_), b_.index(codes_.spans())), blockRows_, tileOperands(b_, context_, linear), codes_.unpacks()};
      for (int64_t i = 0; i < panels; ++i) {
        in.tile.panels.push_back(in.unpacked ? inScratch(unpackedPlace() + i * unpackedPanel()) : packed[size_t(i)]);
        if (in.unpacked)
          emitUnpackedCodes(b_, codes_, in.tile, context_.lanes, packed[size_t(i)], span, in.endSpan, in.tile.panels.back());
      }
      b_.forLoop(b_.index(0), tiles.tiles, 1, [&](Value tile) {
        in.firstRow = tiles.firstRow(tile);
        Value sums = b_.address(inScratch(int64_t(weight) * productStride()), b_.mul(in.firstRow, panels * 16), b_.f32());
        switchRows(b_, tiles.rowCount(tile), tileRows_, [&](int64_t rows) { rowTile({rows, panels, context_.lanes}, in, sums); });
      });
    });
  }
}

/// Adds the products of a block of K to those of the blocks before.
void GroupedCodes::rowTile(const TileShape &shape, const CodeOperands &in, Value sums) {
  KernelBuilder::Values start = zeroTile(b_, shape, b_.f32());
  if (blockSpans_ < codes_.spans())
    start = b_.ifThen(
        b_.equal(in.firstSpan, b_.index(0)), ValueRange(start).getTypes(), [&] { return start; }, [&] { return loadTile(b_, shape, b_.f32(), sums, shape.columns()); });
  storeTile(b_, shape, emitCodeTile(b_, codes_, shape, in, start), sums, shape.columns());
}

} // namespace

GroupedVariant cpu::emitGroupedCodes(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket) {
  GroupedCodes writer(b, context, problem, bucket);
  writer.run();
  return {writer.tilePanels(), context.shapes.symbols().constant(writer.scratchElements())};
}
