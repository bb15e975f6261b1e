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

namespace llmopt::cpu {

/// A row tile's products with consecutive spans of codes, unpacked (emitUnpackedCodes).
struct CodeTileProduct {
  AmxTiles::Shape shape;
  mlir::Value registerRows;                ///< of a register
  llvm::SmallVector<mlir::Value> lefts;    ///< registers of rows at the first span: [step of 16 words][row][16 words]
  llvm::SmallVector<mlir::Value> panels;   ///< at the first span
  mlir::Value spans;
  mlir::Value spanSums;                    ///< room for spanSumElements of the shape
  mlir::Value sums;                        ///< [row][panel][16], to which the products are added
  static int64_t tileElements(AmxTiles::Shape shape) { return shape.rows * AmxTiles::kRows * shape.panels * AmxTiles::kWords; }
  static int64_t spanSumElements(AmxTiles::Shape shape) { return 2 * tileElements(shape); }
};

/// A span's sums are scaled and added beside the products of the next span; `beside(step)` is called in each step: a place for other work.
void emitCodeTileProduct(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in,
                         llvm::function_ref<void(mlir::Value step)> beside = nullptr);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_AMXCODES_H
