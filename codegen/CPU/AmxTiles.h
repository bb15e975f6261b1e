//===- AmxTiles.h - products in tile registers ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intel AMX: eight registers of up to 16 rows of 64 bytes, and one instruction that adds the product of 16 x 16 words by 16 x 16 words to 16 x 16 sums
// (tdpbf16ps: words of two bf16; tdpbusd: of four bytes). Panels of 16 columns in words, as codegen/Common/WeightPacking.h has them, are what it takes as
// its right side; its left side is rows of words. Format: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_AMXTILES_H
#define LLMOPT_CODEGEN_CPU_AMXTILES_H

#include "codegen/CPU/MatMulTile.h"

namespace llmopt::cpu {

/// Four registers of sums, two of left sides (rows), two of right ones (panels). A target without AMX computes the same in memory.
class AmxTiles {
public:
  static constexpr int64_t kRows = 16;  ///< of a register
  static constexpr int64_t kWords = 16; ///< of a row of a register; columns of a panel
  static constexpr int64_t kMostSums = 4, kMostLefts = 2;
  /// Registers of rows, at most two, by panels.
  struct Shape {
    int64_t rows = 1, panels = 1;
  };

  /// `memory`: 64-byte aligned, memoryWords(target) words. `format`: BF16Dot or ByteDot.
  AmxTiles(KernelBuilder &b, const Target &target, PanelFormat format, mlir::Value memory);
  static int64_t memoryWords(const Target &target);

  /// Sums and left sides have `rows` rows (1 to 16) from now on; registers lose what they hold.
  void configure(mlir::Value rows);
  /// At the kernel's end.
  void release();

  void zeroSums(Shape shape);
  /// Sums [shape.rows][rows][shape.panels * 16], f32 or i32, from and to memory, `stride` elements from one row to the next, `panelStride` from one panel to the next.
  void loadSums(Shape shape, mlir::Value from, int64_t stride);
  void storeSums(Shape shape, mlir::Value to, int64_t stride, int64_t panelStride = kWords);
  /// Adds the products of 16 words of each row with those words of each panel. Register row r begins at lefts[r], `leftStride` words from one row to the next.
  /// `streamsLefts`, `streamsPanels`: those come from the second-level cache and pass by the first one, which is left to what is read again.
  /// `beside` comes in front of each panel's products: a place for prefetches.
  void multiplyAdd(Shape shape, llvm::ArrayRef<mlir::Value> lefts, mlir::Value leftStride, llvm::ArrayRef<mlir::Value> panels, bool streamsLefts = false,
                   bool streamsPanels = false, llvm::function_ref<void(int64_t panel)> beside = nullptr);

  /// The same of numbers that are sums of bf16 ones (Bf16Terms.h): the terms of a register's words lie one after the other, 16 x 16 words of a panel, all rows of a register of rows.
  /// `beside` comes in front of each product of terms with each panel, products * panels times.
  void multiplyAddTerms(Shape shape, llvm::ArrayRef<mlir::Value> lefts, int64_t leftTerms, llvm::ArrayRef<mlir::Value> panels, int64_t panelTerms, bool streamsLefts = false,
                        llvm::function_ref<void(int64_t place)> beside = nullptr);

  /// The order in which rows are packed to [step][row][kWords]: body(step, together, row) is to write `together` steps of a row, a few steps of all rows at a time, so that what is written
  /// fits into the first-level cache. Row after row would fall into few of its sets.
  static void eachPackedRow(KernelBuilder &b, int64_t steps, mlir::Value rows, llvm::function_ref<void(mlir::Value step, int64_t together, mlir::Value row)> body);

private:
  static int sum(Shape shape, int64_t row, int64_t panel) { return int(row * shape.panels + panel); }
  static int left(int64_t row) { return int(kMostSums + row); }
  static int right(int64_t panel) { return int(kMostSums + kMostLefts + panel % 2); }
  mlir::Value number(int64_t value);
  void call(llvm::StringRef name, mlir::ValueRange operands);
  void load(int tile, mlir::Value from, mlir::Value stride, bool streams = false);
  void eachSum(Shape shape, mlir::Value memory, int64_t stride, int64_t panelStride, llvm::function_ref<void(int tile, mlir::Value place)> body);
  void product(int sum, int left, int right);
  mlir::Value inMemory(int tile);
  void copyRows(mlir::Value count, mlir::Value from, mlir::Value fromStride, mlir::Value to, mlir::Value toStride);

  KernelBuilder &b_;
  const Target &target_;
  PanelFormat format_;
  mlir::Value memory_, rows_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_AMXTILES_H
