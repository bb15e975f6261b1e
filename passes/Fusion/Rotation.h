//===- Rotation.h - rotary positions written out -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters compute cos and sin of position * frequency once, as tables that they shape, repeat and scale in many orders, and then
// rotate each head's features by them in one of two ways:
//
//   x * cos + concat(-x[h:], x[:h]) * sin                             tables as wide as what is rotated
//   concat(x[:h] * cos - x[h:] * sin, x[h:] * cos + x[:h] * sin)      tables half as wide
//
// where pairs of features are also (2i, 2i + 1) instead of (i, h + i).
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_ROTATION_H
#define LLMOPT_PASSES_FUSION_ROTATION_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include <optional>

namespace llmopt::fusion {

/// How the pairs' angles fill a table: once, [f0 f1 .. f0 f1 ..], or [f0 f0 f1 f1 ..].
enum class Repeats : uint8_t { Once, Halves, Neighbours };

/// scale * cos (or sin) of position * frequency, in some shape whose last dimension is that of frequencies: computed, or read from a table that
/// holds them (WaveTables.h).
struct WaveTable {
  bool isSine = false;
  Repeats repeats = Repeats::Once;
  double scale = 1;
  mlir::Value positions;   ///< integers; in row-major order they are the table's rows
  mlir::Value frequencies; ///< f32, one dimension other than 1; null where they were found in a table
  mlir::DenseElementsAttr foundFrequencies;
  int64_t rows = 0; ///< of the table; negative positions count from its end

  /// Of the same angles, scaled alike.
  bool agreesWith(const WaveTable &other) const {
    return positions == other.positions && frequencies == other.frequencies && foundFrequencies == other.foundFrequencies && rows == other.rows &&
           scale == other.scale && repeats == other.repeats;
  }
  /// Looks up through everything that only shapes, repeats and scales.
  static std::optional<WaveTable> match(mlir::Value table, ShapeAnalysis &shapes);
};

/// What is rotated by which tables; nothing is said about the tables yet.
struct Rotation {
  mlir::Value input, cosine, sine;
  Repeats tables = Repeats::Once; ///< Once: half as wide as the input
  bool interleaved = false;
  llvm::SmallVector<mlir::Value> inside; ///< what is computed on the way, for this alone if it shall not be computed twice

  static std::optional<Rotation> match(mlir::Value value, ShapeAnalysis &shapes);
};

/// `slice` takes elements [begin, end) of the last dimension, in steps; `end` is at most the dimension's size.
struct LastAxisSlice {
  mlir::Value input;
  int64_t begin = 0, end = 0, step = 1;

  static std::optional<LastAxisSlice> match(mlir::Value value);
};

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_ROTATION_H
