//===- AmxCodes.h - products with codes in tile registers -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_AMXCODES_H
#define LLMOPT_CODEGEN_CPU_AMXCODES_H

#include "codegen/CPU/AmxTiles.h"
#include "codegen/CPU/LinearCodes.h"

#include <functional>

namespace llmopt::cpu {

/// Panels of codes that are read once: vectors unpack the step of 16 words behind that which tile registers multiply, in parts between their products.
class CodeSteps {
public:
  static constexpr int64_t kStepWords = AmxTiles::kWords * AmxTiles::kWords; ///< of a panel
  static constexpr int64_t kRoom = 2, kAhead = 1; ///< steps
  /// `room`: kRoom * panels * kStepWords words.
  CodeSteps(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes, mlir::Value room, int64_t panels)
      : b_(b), codes_(codes), unpacker_(b, codes, tile, lanes), room_(room), panels_(panels) {}
  /// Where panel i of step `number` lies.
  mlir::Value place(int64_t i, mlir::Value number) {
    return b_.address(room_, b_.add(b_.mul(b_.mod(number, kRoom), panels_ * kStepWords), i * kStepWords), b_.f32());
  }
  /// The panels' first steps, to `number` and those behind.
  void begin(llvm::ArrayRef<mlir::Value> panels, mlir::Value number);
  /// What comes kAhead steps after step `step` of the panels `own`, which is step `number`, be it of the panels `next`. Called in `places` places.
  std::function<void(int64_t place)> behind(llvm::ArrayRef<mlir::Value> own, llvm::ArrayRef<mlir::Value> next, mlir::Value number, mlir::Value step, int64_t places);

private:
  std::function<void(int64_t place)> parts(llvm::ArrayRef<mlir::Value> panels, llvm::ArrayRef<mlir::Value> ahead, mlir::Value number, mlir::Value step, int64_t places);

  KernelBuilder &b_;
  const CodeProducts &codes_;
  PairUnpacker unpacker_;
  mlir::Value room_;
  int64_t panels_;
};

/// A row tile's products with consecutive spans of codes, unpacked (emitUnpackedCodes).
struct CodeTileProduct {
  AmxTiles::Shape shape;
  mlir::Value registerRows;                ///< of a register
  llvm::SmallVector<mlir::Value> lefts;    ///< registers of rows at the first span: [step of 16 words][term][row][16 words]
  llvm::SmallVector<mlir::Value> panels;   ///< at the first span; packed ones where they are unpacked a step ahead
  mlir::Value spans;
  mlir::Value spanSums;                    ///< room for spanSumElements of the shape
  mlir::Value sums;                        ///< [row][panel][16], to which the products are added
  /// Unpacks them so, and then begins with those that come next.
  CodeSteps *steps = nullptr;
  llvm::SmallVector<mlir::Value> next = {};
  mlir::Value firstStep = {}; ///< its number
  static int64_t tileElements(AmxTiles::Shape shape) { return shape.rows * AmxTiles::kRows * shape.panels * AmxTiles::kWords; }
  static int64_t spanSumElements(AmxTiles::Shape shape) { return 2 * tileElements(shape); }
};

/// A span's sums are scaled and added beside the products of the next span; `beside(step)` is called in each step: a place for other work.
void emitCodeTileProduct(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in,
                         llvm::function_ref<void(mlir::Value step)> beside = nullptr);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_AMXCODES_H
