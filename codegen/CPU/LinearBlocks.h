//===- LinearBlocks.h - projections of many rows -----------------*- C++ -*-===//
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
//                    the next tile's block is prefetched, spread evenly over the row tiles
//   weight           of a gated pair
//   row tile         the register tile, in vectors (LinearBlocksVectors.cpp) or in tile registers (LinearBlocksAmx.cpp)
//
// Sums continue from one block of K to the next as one chain, so blocks change no bits.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARBLOCKS_H
#define LLMOPT_CODEGEN_CPU_LINEARBLOCKS_H

#include "codegen/CPU/AmxCodes.h"
#include "codegen/CPU/LinearEpilogue.h"
#include "codegen/CPU/LinearPacking.h"
#include "codegen/CPU/LinearStream.h"

namespace llmopt::cpu {

/// Numbers of the loops, all known when compiling.
struct BlockPlan {
  BlockPlan(const LinearContext &context, strategy::GemmBucketAttr bucket);

  int64_t lanes, depth, tileRows, tilePanels, kBlock, kBlocks, blockTiles, chunk;
  bool pack, widen;
  AmxTiles::Shape amx; ///< of a register tile
  int64_t rowTerms, weightTerms; ///< bf16 numbers of which one of a row, or a weight, is the sum
  bool splitsSteps;              ///< weights are split a step ahead, not a block of K: each is multiplied once
  bool unpacksSteps;             ///< codes likewise
  int64_t words;       ///< of the rows of a block; 0 where they are taken as they are
  int64_t amxWords;    ///< what tile registers need, the sums of two spans of codes included
  int64_t span = 0, unpackedSpan = 0; ///< steps of depth of a span of codes, and words of it where they are unpacked
  /// Of a register tile.
  int64_t tileElements() const { return tileRows * tilePanels * 16; }
  int64_t spanSumElements(const LinearContext &context) const { return context.codes ? CodeTileProduct::spanSumElements(amx) : 0; }
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
  int64_t widenedElements() const { return widen ? tilePanels * widenedPanel() * (unpacksSteps ? CodeSteps::kRoom : weightTerms > 1 ? 2 : 1) : 0; } // terms: of a block, and of the next one
  int64_t widenedPanel() const {
    return unpacksSteps      ? CodeSteps::kStepWords
           : unpackedSpan    ? kBlock / span * unpackedSpan
           : weightTerms > 1 ? (splitsSteps ? AmxTiles::kWords : kBlock) * weightTerms * 16
                             : (kBlock + 1) / 2 * 32;
  }
  /// Rows that are normed at a time.
  int64_t normRows() const { return amxWords ? tileRows : blockRows(); }
  /// Before the rows that a norm in front gives.
  int64_t otherElements(int64_t weights) const { return sumElements(weights) + packedElements() + widenedElements() + words + amxWords; }
};

/// What the row tiles of vectors and of tile registers have in common: which rows and columns a part computes, and in which order.
class BlockWriter {
public:
  BlockWriter(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan)
      : b_(b), context_(context), plan_(plan), rowTiles_(b, b.dim(context.problem.rows), plan.tileRows) {}
  virtual ~BlockWriter() = default;
  void run();

protected:
  /// Row tiles [first, last) and the rows before and in them.
  struct RowBlock {
    mlir::Value first, last, firstRow, rows;
  };
  /// A block of K of a column tile, and the one that is computed after it.
  struct TileBlock {
    mlir::Value tile, k0, nextTile, nextK0;
    int64_t panels;
  };
  /// Fewest rows for which a thread reads all weights; with fewer, threads share columns.
  virtual int64_t groupRows() const = 0;
  /// Once for each block of rows: the input's, normed, to what the products read. `publish`: the normed rows are to be stored too.
  virtual void prepareRows(const RowBlock &rows, mlir::Value publish) = 0;
  /// Column tiles [begin, end) of `panels` panels with all rows of a block, and what follows the products.
  virtual void columnTiles(const LinearSegment &segment, const RowBlock &rows, mlir::Value begin, mlir::Value end, int64_t panels) = 0;

  TileBlock followed(mlir::Value chunkBegin, mlir::Value chunkEnd, mlir::Value tile, mlir::Value k0, int64_t panels);
  /// Where a column tile's sums begin in scratch memory.
  mlir::Value placeOf(const TileBlock &block, mlir::Value chunkBegin) { return b_.mul(b_.sub(block.tile, chunkBegin), plan_.blockRows() * plan_.tilePanels * 16); }
  mlir::Value firstColumn(const TileBlock &block) { return b_.mul(block.tile, plan_.tilePanels * 16); }
  LinearEpilogue epilogueOf(const LinearSegment &segment);
  /// Whether the block at k0 is the last one.
  mlir::Value endsAtDepth(mlir::Value k0) { return b_.less(b_.index((plan_.kBlocks - 1) * plan_.kBlock - 1), k0); }
  mlir::Value blockDepth(mlir::Value k0);
  mlir::Value panelOf(Projection linear, mlir::Value tile, int64_t panel) { return panelAddress(b_, context_, linear, b_.add(b_.mul(tile, plan_.tilePanels), panel)); }
  mlir::Value panelBlock(Projection linear, mlir::Value tile, int64_t panel, mlir::Value k0);
  /// Unfinished sums are kept for all row tiles of a block; others stay in the first-level cache.
  bool keepsSums(const LinearSegment &segment) const { return plan_.chunk > 1 || segment.linears.size() > 1; }
  /// Row tile i of n prefetches the i-th part of the codes that come next.
  void prefetchCodes(const RowBlock &rows, mlir::Value rowTile, Projection linear, const TileBlock &block);
  /// Unpacks a column tile's block of K into scratch memory, and prefetches what comes next beside it.
  void unpackCodes(Projection linear, const TileBlock &block, bool prefetchesNext = false);
  mlir::Value nextCodes(Projection linear, const TileBlock &block, int64_t panel);
  mlir::Value widenedPanel(int64_t i) { return b_.address(widened(), b_.index(i * plan_.widenedPanel()), b_.f32()); }
  int64_t productStride() const { return plan_.chunk * plan_.blockRows() * plan_.tilePanels * 16; }

  int64_t weightBytes() const;
  mlir::Value inScratch(int64_t element) { return b_.address(b_.scratch(), b_.index(element), b_.f32()); }
  mlir::Value sums() { return b_.scratch(); }
  mlir::Value packed() { return inScratch(plan_.sumElements(context_.problem.mostWeights())); }
  mlir::Value widened() { return b_.address(packed(), b_.index(plan_.packedElements()), b_.f32()); }
  mlir::Value words() { return b_.address(widened(), b_.index(plan_.widenedElements()), b_.f32()); }
  /// Norms rows [firstRow, end) where a norm stands in front. Returns where they lie.
  mlir::Value normedRows(mlir::Value firstRow, mlir::Value end, mlir::Value publish);
  /// In the input, or, normed, in scratch memory.
  mlir::Value rowsAsGiven(mlir::Value firstRow);

  KernelBuilder &b_;
  const LinearContext &context_;
  const BlockPlan &plan_;
  RowTiles rowTiles_;

private:
  void rowBlock(const RowBlock &rows, mlir::Value begin, mlir::Value end);
  void segment(const LinearSegment &segment, const RowBlock &rows, mlir::Value firstTile, mlir::Value lastTile);
};

/// The code of a part, with row tiles in vectors and in tile registers.
void emitVectorBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan);
void emitTileRegisterBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARBLOCKS_H
