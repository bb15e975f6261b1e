//===- LinearCodes.h - products with weights of 4 and 8 bits ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights stay codes (codegen/Common/QuantizedPanels.h). Rows of f32 become whole numbers: in each span of at most 256 inputs the largest magnitude gives a power of two,
// and an element is a multiple of 2^-21 of that, rounded to nearest. Such a number is written in digits small enough for the machine's dot product, so a span's sums
//
//   sum (code - zero) x  =  scale of the row's span * sum over digits of base^digit * (sum code * digit  -  zero * sum digit)
//
// are exact in i32, and only adding up spans rounds. The error is that of f32 arithmetic, and a row's bits depend on nothing but the row.
//
// Where rows may be rounded to 8 bits (strategy attribute `int8Products`), there is one digit: an element is a multiple of 1/127 of its span's largest magnitude.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARCODES_H
#define LLMOPT_CODEGEN_CPU_LINEARCODES_H

#include "codegen/CPU/MatMulTile.h"
#include "codegen/Common/QuantizedPanels.h"

namespace llmopt::cpu {

/// The facts of one kernel.
struct CodeProducts {
  QuantizedPanels panels;
  int64_t zero = 0;    ///< of all blocks where they have none of their own
  int64_t inputs = 0;  ///< K
  bool bytes = false;  ///< sums of four products of bytes in one instruction; else of two of 16 bits
  bool rounded = false; ///< rows to 8 bits

  int64_t block() const { return panels.blockInputs(inputs); }
  int64_t span() const;
  int64_t spans() const { return (inputs + span() - 1) / span(); }
  /// Bytes of a panel from one span to the next, on an average: what lies in front of a group's codes is shared out.
  int64_t spanBytes() const { return panels.groupBytes(inputs) * span() / (panels.groupBlocks(inputs) * block()); }
  /// A number is three digits of 8 bits, or two of 12; one of 8.
  int64_t digits() const { return rounded ? 1 : bytes ? 3 : 2; }
  int64_t digitBits() const { return bytes ? 8 : 12; }
  /// Words of a span, of four digits or two, and from one digit of a row to the next. Distances that are multiples of 4 KiB would share cache sets.
  int64_t spanWords() const { return span() / (bytes ? 4 : 2); }
  int64_t stride() const { return spans() * spanWords() + 16; }
  /// Words in front of the digits of rows: of each span its scale, and what its sums begin with.
  int64_t spanFacts() const { return 1 + digits(); }
  int64_t factElements(int64_t rows) const { return (rows * spans() * spanFacts() + 15) / 16 * 16; }
  int64_t elements(int64_t rows) const { return factElements(rows) + rows * digits() * stride(); }
};

/// Brings `count` rows of f32 at `from` into digits at `to`, where there is room for `most`.
void emitRowDigits(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, mlir::Value from, mlir::Value count, int64_t most, mlir::Value to);

/// Rows [firstRow, firstRow + shape.rows) of the digits at `rows`, and their spans [firstSpan, endSpan).
struct CodeOperands {
  mlir::Value rows, firstRow, firstSpan, endSpan;
  int64_t most = 0;  ///< rows there is room for
  TileOperands tile; ///< the panels' beginnings, and the target's facts
  int64_t stream = 0;  ///< panels of a weight that are read from memory side by side, once; the next tile's lie behind them. 0: read again and again
};

/// Adds their products, in f32.
KernelBuilder::Values emitCodeTile(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &operands, mlir::ValueRange initial);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARCODES_H
