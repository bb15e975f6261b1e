//===- Bf16Words.h - rounding to words of two bf16 --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What dot products of bf16 take (PanelFormat::BF16Dot): words of two bf16 each, the first factor in the low half.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_BF16WORDS_H
#define LLMOPT_CODEGEN_CPU_BF16WORDS_H

#include "codegen/CPU/KernelBuilder.h"

namespace llmopt::cpu {

class Bf16Words {
public:
  /// `converts`: the target has vcvtneps2bf16.
  Bf16Words(KernelBuilder &b, bool converts) : b_(b), converts_(converts) {}

  /// f32 to the i16 of a bf16, to nearest even; scalars and vectors.
  mlir::Value round(mlir::Value x);
  /// Words (i32) of two vectors of f32.
  mlir::Value join(mlir::Value even, mlir::Value odd);
  /// Rounds `count` floats at `from` to halves at `to`, which may be the same place, and adds a zero where their number is odd.
  void roundRow(mlir::Value from, mlir::Value to, int64_t count, int64_t lanes);
  /// Words of two rows of `count` floats (no second one: of zeros) to panels of 16, `panelWords` apart; the last panel is filled up with zeros.
  void joinRows(mlir::Value even, mlir::Value odd, mlir::Value to, int64_t count, int64_t panelWords);

private:
  KernelBuilder &b_;
  bool converts_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_BF16WORDS_H
