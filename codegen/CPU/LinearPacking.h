//===- LinearPacking.h - rows of the input in tile order --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARPACKING_H
#define LLMOPT_CODEGEN_CPU_LINEARPACKING_H

#include "codegen/CPU/MatMulTile.h"

namespace llmopt::cpu {

struct RowPacking {
  int64_t depth = 0, kBlock = 0, tileRows = 0;
};

/// Copies row tiles [first, last) of which the first row lies at `input` ([rows, depth], f32) to `packed`: [blocks of K][row tiles][k][row of the tile].
/// Writes up to 16 elements behind the end.
void packRows(KernelBuilder &b, const RowPacking &packing, const RowTiles &tiles, mlir::Value first, mlir::Value last,
              mlir::Value input, mlir::Value packed);

/// Copies `height` rows of `length` floats (row distance `stride`) to `to` as [k][row]; `lengthMultiple` divides `length`.
/// Writes up to 8 elements behind the end unless `height` is a multiple of 8.
void packTile(KernelBuilder &b, int64_t height, int64_t stride, mlir::Value length, int64_t lengthMultiple, mlir::Value from,
              mlir::Value to);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARPACKING_H
