//===- LinearCodes.h - products with weights of 4 and 8 bits ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights stay codes (codegen/Common/QuantizedPanels.h), and products of a span of at most a block are added before its scale:
//
//   sum (code - zero) x  =  sum code * x  -  zero * sum x
//
// With a dot product of bytes (vpdpbusd), rows of f32 become whole numbers: in each span of at most 256 inputs the largest magnitude gives a power of two,
// and an element is a multiple of 2^-21 of that, rounded to nearest. Such a number is written in three digits of 8 bits, so a span's sums are exact in i32,
//
//   scale of the row's span * sum over digits of 256^digit * (sum code * digit  -  zero * sum digit)
//
// and only adding up spans rounds. Elsewhere products are those of f32: codes are widened where they lie in their words, as multiples of powers of two, and rows are
// divided by these beforehand. Either way the error is that of f32 arithmetic, and a row's bits depend on nothing but the row.
//
// Where rows may be rounded to 8 bits (strategy attribute `int8Products`), there is one digit: an element is a multiple of 1/127 of its span's largest magnitude.
//
// Where they may be rounded to bf16, or be the sums of two such numbers (Bf16Terms.h), and the target has tile registers (`amx`), `code - zero`, which bf16 holds exactly, meets them there (AmxTiles.h),
// a span's sums begin at zero, and each is scaled in f32. One row may do the same in vectors of f32, in the same order of additions. That order takes inputs 0 and 2, 1 and 3 of each four as pairs: so
// a word of codes gives words of bf16 without shuffles.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARCODES_H
#define LLMOPT_CODEGEN_CPU_LINEARCODES_H

#include "codegen/CPU/MatMulTile.h"
#include "codegen/Common/QuantizedPanels.h"
#include "codegen/Common/WeightPacking.h"

namespace llmopt::cpu {

/// What a kernel's sums are of: four products of bytes in one instruction (vpdpbusd), or two of them (vpmaddubsw, codes of 4 bits); two of 16 bits (vpmaddwd); f32; f32 of bf16 in
/// the order of tile registers.
enum class CodeArithmetic { Bytes, BytePairs, Shorts, Floats, Groups };

/// Of a target without tile registers. `exact`: rows are not rounded to 8 bits.
CodeArithmetic codeArithmetic(const Target &target, int64_t lanes, int bits, bool exact);

/// The facts of one kernel.
struct CodeProducts {
  QuantizedPanels panels;
  int64_t zero = 0;    ///< of all blocks where they have none of their own
  int64_t inputs = 0;  ///< K
  CodeArithmetic arithmetic = CodeArithmetic::Floats;
  bool rounded = false; ///< rows to 8 bits
  int64_t terms = 1;    ///< of groups: bf16 numbers of which a row's is the sum, or the one it is rounded to

  bool inGroups() const { return arithmetic == CodeArithmetic::Groups; }
  bool inFloats() const { return arithmetic == CodeArithmetic::Floats || inGroups(); }
  int64_t block() const { return panels.blockInputs(inputs); }
  int64_t span() const;
  int64_t spans() const { return (inputs + span() - 1) / span(); }
  /// Bytes of a panel from one span to the next, on an average: what lies in front of a group's codes is shared out.
  int64_t spanBytes() const { return panels.groupBytes(inputs) * span() / (panels.groupBlocks(inputs) * block()); }
  /// A number is three digits of 8 bits; one where it has 8 bits, or is f32.
  int64_t digits() const { return rounded || inFloats() ? 1 : 3; }
  /// Inputs of a word of 32 bits of a digit.
  int64_t wordInputs() const { return inFloats() ? 1 : arithmetic == CodeArithmetic::Shorts ? 2 : 4; }
  /// Words of a span, and from one digit of a row to the next. Distances that are multiples of 4 KiB would share cache sets.
  int64_t spanWords() const { return span() / wordInputs(); }
  int64_t stride() const { return inGroups() ? inputs : spans() * spanWords() + 16; }
  /// Words in front of the digits of rows: of each span its scale (not of f32), and what its sums begin with (not of groups).
  int64_t spanFacts() const { return inGroups() ? 0 : inFloats() ? 1 : 1 + digits(); }
  int64_t factElements(int64_t rows) const { return (rows * spans() * spanFacts() + 15) / 16 * 16; }
  int64_t elements(int64_t rows) const { return factElements(rows) + rows * digits() * stride(); }
  /// Many rows read unpacked codes where unpacking takes as long as multiplying.
  bool unpacks() const { return arithmetic != CodeArithmetic::Bytes; }
  /// Words of an unpacked span: 16 scales in f32, 16 zero points where blocks have their own, [spanWords][16] codes. Of groups: scales, [span / 2][16] words of two bf16.
  int64_t unpackedSpan() const { return (inGroups() ? 1 + span() / 2 : 1 + panels.zeros + spanWords()) * kPanelColumns; }
};

/// Brings `count` rows of f32 at `from` into digits at `to`, where there is room for `most`; rows `rowOf(i)` where that is given.
void emitRowDigits(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, mlir::Value from, mlir::Value count, int64_t most, mlir::Value to,
                   llvm::function_ref<mlir::Value(mlir::Value)> rowOf = nullptr);

/// Halves of rows of bf16 in the order in which a word of codes is unpacked to words of two bf16: 0 and 2, 1 and 3 of each four.
mlir::Value pairedHalves(KernelBuilder &b, mlir::Value halves);

/// Brings spans [firstSpan, endSpan) of the panel at `panel` to `to`, unpacked. `beside(i)` comes in front of the i-th: a place for prefetches.
void emitUnpackedCodes(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes, mlir::Value panel, mlir::Value firstSpan, mlir::Value endSpan,
                       mlir::Value to, llvm::function_ref<void(mlir::Value)> beside = nullptr);

/// Words of codes of groups to words of two bf16, `code - zero` exactly.
class PairUnpacker {
public:
  PairUnpacker(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes);
  /// Inputs in a word of codes.
  int64_t together() const { return 32 / codes_.panels.bits; }
  /// Zero points of a span of the panel, for each vector of columns; nothing where all blocks have the same.
  KernelBuilder::Values zerosOf(mlir::Value panel, mlir::Value span);
  /// Word `word` of each column of the codes at `from` to those at `to`.
  void unpack(mlir::Value from, mlir::Value to, mlir::Value word, mlir::ValueRange zeros);

private:
  mlir::Value pair(mlir::Value words, int64_t shift, mlir::Value zeros);
  mlir::Value lookUp(mlir::Value numbers);
  mlir::Value shiftRight(mlir::Value value, int64_t by);
  mlir::Value bf16Of(mlir::Value words, int64_t shift, mlir::Value zeros);

  KernelBuilder &b_;
  const CodeProducts &codes_;
  int64_t lanes_;
  mlir::VectorType ints_, halves_;
  mlir::Value table_; ///< 32 bf16, of codes of 4 bits; null: they are converted
};

/// The scales of a span of a packed panel: 16 in f32, or their part `vector`. Bytes from the panel's beginning to the span's codes.
mlir::Value packedScales(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, mlir::Value panel, mlir::Value span, int64_t vector);
mlir::Value packedCodesPlace(KernelBuilder &b, const CodeProducts &codes, mlir::Value span);

/// Rows [firstRow, firstRow + shape.rows) of the digits at `rows`, and their spans [firstSpan, endSpan).
struct CodeOperands {
  mlir::Value rows, firstRow, firstSpan, endSpan;
  int64_t most = 0;  ///< rows there is room for
  TileOperands tile; ///< the panels' beginnings, unpacked ones at firstSpan, and the target's facts
  bool unpacked = false;
  int64_t stream = 0;  ///< panels of a weight that are read from memory side by side, once; the next tile's lie behind them. 0: read again and again
};

/// Adds their products, in f32.
KernelBuilder::Values emitCodeTile(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &operands, mlir::ValueRange initial);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARCODES_H
