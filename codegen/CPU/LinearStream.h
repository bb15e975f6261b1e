//===- LinearStream.h - projections of one to four rows ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEARSTREAM_H
#define LLMOPT_CODEGEN_CPU_LINEARSTREAM_H

#include "codegen/CPU/LinearCodes.h"
#include "codegen/CPU/LinearRegion.h"
#include "codegen/CPU/MatMulTile.h"
#include "llmopt/dialects/Strategy/Strategy.h"

#include <functional>

namespace llmopt::cpu {

/// Facts shared by the variants of one kernel.
struct LinearContext {
  const LinearProblem &problem;
  ShapeAnalysis &shapes;
  const Target &target;
  int64_t lanes;     ///< f32 in a vector
  bool bf16Products; ///< of words of two bf16
  /// Norms rows [first, end) to the address `to`, and stores what the kernel returns of them if `publish`; null where the input lies in memory.
  std::function<void(KernelBuilder &, mlir::Value first, mlir::Value end, mlir::Value to, mlir::Value publish)> norm;
  std::optional<CodeProducts> codes = std::nullopt; ///< where weights are codes and scales
  bool roundedInput = false; ///< the input lies in memory in bf16, whose rows are words already
  bool amx = false;          ///< words are multiplied in tile registers
  bool inGroups = false;     ///< rows rounded to bf16, but kept in f32, are multiplied in vectors in the order of tile registers
  int64_t terms = 0;         ///< 2, 3: numbers in f32 are multiplied as sums of so many bf16 ones (Bf16Terms.h)
  /// Of a row's number, and of a weight.
  int64_t rowTerms() const { return terms ? terms : 1; }
  int64_t weightTerms() const;
  bool splitsWeights() const { return weightTerms() > 1; }
  /// Tiles multiply words of two bf16.
  bool inPairs() const { return bf16Products || (terms && amx); }
  /// Words that `rows` normed rows take.
  int64_t normElements(int64_t rows) const { return norm ? (rows * problem.depth / (problem.integer ? 4 : 1) + 31) / 16 * 16 : 0; }
  /// Sums of four products of bytes in one instruction; else bytes are widened and two are.
  bool byteDot() const { return problem.integer && target.int8Dot && lanes == 16; }
  /// Tiles multiply words.
  bool inWords() const { return inPairs() || problem.integer || codes; }
  /// Rows are brought into words first.
  bool makesWords() const { return inWords() && !roundedInput; }
  /// Words that `rows` of them take.
  int64_t wordElements(int64_t rows) const { return codes ? codes->elements(rows) : makesWords() ? (rows * depth() + 31) / 16 * 16 : 0; }
  /// Steps of the tile loops: K, or its words.
  int64_t depth() const {
    if (codes)
      return codes->spans() * codes->span() / (amx ? 2 : 1);
    if (problem.integer)
      return (problem.depth + 3) / 4 * (byteDot() ? 1 : 2);
    return inPairs() ? (problem.depth + 1) / 2 : problem.depth;
  }
  mlir::Type sumElement(KernelBuilder &b) const { return problem.integer ? b.i32() : b.f32(); }
  /// Of the input in memory.
  mlir::Type inputElement(KernelBuilder &b) const { return problem.integer ? mlir::Type(b.ops().getI8Type()) : b.f32(); }
  int64_t inputStride() const { return roundedInput ? depth() : problem.depth; }
};

/// The codes that a kernel's weights are, and the arithmetic with them; nothing where they are numbers.
std::optional<CodeProducts> codesOf(exec::KernelOp kernel, const Target &target, strategy::GemmAttr strategy, int64_t depth);
/// How a kernel wants a weight to lie.
std::string weightLayout(const LinearContext &context, Projection linear);
/// What a kernel's operations are of.
DType arithmeticOf(const LinearContext &context);

/// Format of a weight's panels in memory, and elements of one panel.
PanelFormat panelFormat(Projection linear);
int64_t panelElements(Projection linear, int64_t depth);
/// The address of panel `panel`.
mlir::Value panelAddress(KernelBuilder &b, const LinearContext &context, Projection linear, mlir::Value panel);
/// Bytes of a segment's weights, of one expert.
int64_t weightBytes(const LinearContext &context, const LinearSegment &segment);
/// What every tile of a linear has in common.
TileOperands tileOperands(KernelBuilder &b, const LinearContext &context, Projection linear);

/// `count` rows at `from`, rounded to bf16, as bytes or as digits, to words at `to`, which has context.wordElements(most).
void emitRowWords(KernelBuilder &b, const LinearContext &context, mlir::Value from, mlir::Value count, int64_t most, mlir::Value to);

/// `count` rows at `from` rounded to bf16, but in f32, to `to`; or their terms, one after the other those of all rows. Lengths of rows are multiples of a vector's.
void emitRoundedRows(KernelBuilder &b, const LinearContext &context, mlir::Value from, mlir::Value count, mlir::Value to);

/// Each step prefetches what comes some steps later in its panels (Target::prefetchersSuffice).
void readAhead(KernelBuilder &b, TileOperands &in);

/// Exactly bucket.rows rows: all weights pass once, several panels at a time, each an independent sequential stream.
/// A work unit is one panel. Returns the scratch bytes needed.
int64_t emitLinearStream(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket);

/// Any number of rows, in blocks; a work unit is one tile of columns of one row block. Returns the scratch bytes needed.
int64_t emitLinearBlocks(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket);
/// Number of work units of emitLinearBlocks.
SymExpr linearBlockUnits(const LinearContext &context, strategy::GemmBucketAttr bucket);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEARSTREAM_H
