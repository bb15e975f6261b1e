//===- MatMulTile.h - one register tile of a matrix product -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The inner loop of every matrix kernel: rows of A against panels of 16 columns of B, accumulators in registers, K unrolled
// here and not by a later pass. Each accumulator is one chain over ascending k that starts from the given value, so a product
// has the same bits in a tile of any height and with K cut anywhere.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_MATMULTILE_H
#define LLMOPT_CODEGEN_CPU_MATMULTILE_H

#include "codegen/CPU/KernelBuilder.h"
#include "llmopt/lib/Target/Target.h"

#include <functional>

namespace llmopt::cpu {

/// Elements of the B panels (codegen/Common/WeightPacking.h): those of A, or narrower ones that are widened to f32. BF16Dot: A and B
/// are words of two bf16 each, depth counts words, and both products of two words are added.
/// Integers, whose sums are i32 and exact: ByteDot: words of four bytes, unsigned in A and signed in B. ShortDot: words of two i16. BytePairs: A as in
/// ShortDot, B as in ByteDot; a word of B is two steps, its first and third byte, and the others.
/// Codes are unsigned bytes or halves of them, by signed numbers of A: words of four bytes (CodeBytes, CodeNibbles; without vpdpbusd codes are at most 15 either way, and the
/// depth is known), words of two i16, or f32, which are divided by 2^codePlace.
/// BF16Groups: as BF16Pairs, added as tile registers do (AmxTiles.h): of 32 inputs the products of the even ones and those of the odd ones, each from zero. FloatGroups, F16Groups: the
/// same of the terms of f32 and f16. CodeByteGroups,
/// CodeNibbleGroups: `code - zero` by numbers that bf16 holds, likewise, but of each four inputs the first two and the last two.
enum class PanelFormat {
  Plain,
  F16,
  BF16Pairs,
  BF16Groups,
  FloatGroups,
  F16Groups,
  BF16Dot,
  ByteDot,
  BytePairs,
  ShortDot,
  CodeBytes,
  CodeNibbles,
  CodeBytePairs,
  CodeNibblePairs,
  CodeByteFloats,
  CodeNibbleFloats,
  CodeByteGroups,
  CodeNibbleGroups
};

/// Lowest bit of the code of input `k` in its word of 32 bits, where it is masked; the highest one is shifted down.
constexpr int64_t codePlace(int bits, int64_t k) {
  int64_t place = k % 4 * 8 + k / 4 % (8 / bits) * 4;
  return place + bits == 32 ? 0 : place;
}

struct TileShape {
  int64_t rows = 1;
  int64_t panels = 1; ///< of 16 columns
  int64_t lanes = 8;  ///< elements of one vector

  int64_t vectors() const { return 16 / lanes; } ///< of one panel row
  int64_t columns() const { return panels * 16; }
  /// Place of an accumulator in the lists below.
  int64_t index(int64_t row, int64_t panel, int64_t vector) const { return (row * panels + panel) * vectors() + vector; }
  int64_t accumulators() const { return rows * panels * vectors(); }
};

struct TileOperands {
  mlir::Type element; ///< of A and of the accumulators
  /// A[r, k] lies at element r * aRow + k * aStep of `a`; or at k * aStep of `aRows[r]` where that list is not empty.
  mlir::Value a;
  int64_t aRow = 0, aStep = 1;
  llvm::SmallVector<mlir::Value> aRows;
  /// Addresses of A for each vector of B but the first, not known to be `a`: so each multiply-add broadcasts its number from memory itself. A broadcast into a
  /// register takes the place of other arithmetic beside the products (Zen 4: 12 products and a vector of weights in 19 cycles, without it in 14).
  llvm::SmallVector<mlir::Value> aCopies;
  /// Address of k = 0 of each panel of the tile.
  llvm::SmallVector<mlir::Value> panels;
  /// Where each panel is written as it is multiplied, as emitWidenedPanel writes it; or none.
  llvm::SmallVector<mlir::Value> widened;
  PanelFormat format = PanelFormat::Plain;
  bool prefetchersSuffice = true; ///< as Target has it
  bool hasF16Conversion = true;   ///< the target has vcvtph2ps
  bool hasBf16Dot = false;        ///< the target has vdpbf16ps
  bool hasByteDot = false;        ///< and vpdpbusd
  int64_t targetLanes = 4;        ///< of 32 bits in the target's widest vector, which may be narrower than the tile's
  /// Of groups: numbers in f32 are sums of so many bf16 ones (Bf16Terms.h; 0: they are taken as they are). Those of A lie there, `aTerm` elements from one term to the next.
  int64_t terms = 0, aTerm = 0, weightTerms = 1;
  int64_t codeZero = 0;                     ///< of groups of codes
  llvm::SmallVector<mlir::Value> codeZeros; ///< for each vector of columns, in i32; empty: codeZero
  mlir::Value depth;              ///< K
  int64_t depthMultiple = 1;      ///< K is known to be a multiple of this
  int64_t unroll = 4;
  /// Called once in each unrolled step with k, and with k * placeGrowth, which the loop adds up (LLVM would multiply in each step): a place for prefetches.
  std::function<void(mlir::Value k, mlir::Value place)> perStep;
  mlir::Value placeGrowth; ///< without it there is no place
  /// The same for each panel: with terms, groups of one panel after the other are multiplied.
  std::function<void(mlir::Value k, int64_t panel)> perPanelStep;
};

/// The accumulators after K steps from `initial`.
KernelBuilder::Values emitTileLoop(KernelBuilder &b, const TileShape &shape, const TileOperands &operands, mlir::ValueRange initial);

/// `count` steps from k on, written out. `beside(i)` comes in front of step i: other work that is to share the processor's ports with the products.
KernelBuilder::Values emitTileSteps(KernelBuilder &b, const TileShape &shape, const TileOperands &operands, mlir::Value k, int64_t count, mlir::ValueRange tile,
                                    llvm::function_ref<void(int64_t)> beside);

/// Widens one panel of `operands`' format to f32 (codes to the words that are multiplied), [depth][16] at `to` (rounded up to whole pairs).
void emitWidenedPanel(KernelBuilder &b, const TileOperands &operands, int64_t lanes, mlir::Value panel, mlir::Value to);

/// Accumulators that start at zero.
KernelBuilder::Values zeroTile(KernelBuilder &b, const TileShape &shape, mlir::Type element);
/// Accumulators from and to memory: element (row, column) at row * rowStride + column.
KernelBuilder::Values loadTile(KernelBuilder &b, const TileShape &shape, mlir::Type element, mlir::Value base, int64_t rowStride);
void storeTile(KernelBuilder &b, const TileShape &shape, mlir::ValueRange tile, mlir::Value base, int64_t rowStride);

/// Elements of one panel in memory per k (f32: 16; bf16 pairs: 16 as well) and their type.
mlir::Type panelElement(KernelBuilder &b, const TileOperands &operands);

/// Runs `body(n)` for the n in [1, most] that equals `count`, the largest first.
void switchRows(KernelBuilder &b, mlir::Value count, int64_t most, llvm::function_ref<void(int64_t)> body);

/// Rows cut into tiles of at most `most` rows as evenly as possible: no tile is small beside a full one.
struct RowTiles {
  RowTiles(KernelBuilder &b, mlir::Value rows, int64_t most);
  mlir::Value firstRow(mlir::Value tile) const;
  mlir::Value rowCount(mlir::Value tile) const;
  mlir::Value tiles; ///< their number

private:
  KernelBuilder &b_;
  mlir::Value least_, extra_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_MATMULTILE_H
