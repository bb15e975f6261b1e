//===- AmxTerms.h - weights as sums of bf16 in tile registers ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Panels in f32 and f16 become words of bf16 terms (Bf16Terms.h) while they are multiplied: vectors split what comes next in parts between the products of tile registers, which take what was
// split before.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_AMXTERMS_H
#define LLMOPT_CODEGEN_CPU_AMXTERMS_H

#include "codegen/CPU/AmxTiles.h"

namespace llmopt::cpu {

/// A block is [panel][step of 16 words][term][word][column]; there is room for two of them: blocks of even and of odd number.
class PanelSplitter {
public:
  /// `element`: of the panels. `room`: 2 * panels * panelWords words.
  PanelSplitter(KernelBuilder &b, mlir::Type element, int64_t terms, mlir::Value room, int64_t panels, int64_t panelWords)
      : b_(b), element_(element), terms_(terms), room_(room), panels_(panels), panelWords_(panelWords) {}

  /// Where panel i of block `number` lies.
  mlir::Value place(int64_t i, mlir::Value number);
  /// Words [first, end) of panels, to block `number`.
  void split(llvm::ArrayRef<mlir::Value> panels, mlir::Value number, mlir::Value first, mlir::Value end);

  /// What a row tile has to split beside its products: called in `places` places of each step, with their number.
  using Beside = std::function<void(int64_t place)>;
  /// Row tile `rowTile` of `rowTiles` has its part of the `words` words of the block behind `number`, in `steps` steps.
  struct Share {
    mlir::Value number, rowTile, rowTiles, words, steps;
  };
  Beside shareOf(llvm::ArrayRef<mlir::Value> next, const Share &share, mlir::Value step, int64_t places);
  /// Each step is a block, `number` that of this one: the step behind it, which is the first one of the panels `next` if `isLast`.
  Beside stepBehind(llvm::ArrayRef<mlir::Value> own, llvm::ArrayRef<mlir::Value> next, mlir::Value number, mlir::Value step, mlir::Value isLast, int64_t places);

private:
  void splitWord(mlir::Value panel, mlir::Value terms, mlir::Value word);

  KernelBuilder &b_;
  mlir::Type element_;
  int64_t terms_;
  mlir::Value room_;
  int64_t panels_, panelWords_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_AMXTERMS_H
