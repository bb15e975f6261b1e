//===- ChooseStrategy.h - tiles and blocks from target facts ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Phase Strategy: what a kernel's generator will read is decided here from the shapes and the row of the target table, and
// written down as an attribute, so that it can be printed, tested and overridden. test/benchmark/kernels.cpp measures them.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_CHOOSESTRATEGY_H
#define LLMOPT_CODEGEN_COMMON_CHOOSESTRATEGY_H

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/Strategy/Strategy.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include <optional>

namespace llmopt {

/// What is known about a matrix product with packed weights.
struct GemmFacts {
  int64_t depth = 0;           ///< K, or its words
  std::optional<int64_t> rows = std::nullopt; ///< M, where it is static
  int64_t weightBytes = 4;     ///< of one weight
  int64_t weights = 1;         ///< matrices whose results meet in one epilogue
  bool bf16Products = false;   ///< depth counts pairs, of four bytes
  int64_t terms = 0;           ///< 2, 3: numbers in f32 are sums of so many bf16 ones; depth counts pairs
  bool splitsWeights = false;  ///< weights too, not only the other operand
  bool words = false;          ///< both sides are words of two bf16 or of four bytes
  bool codes = false;          ///< weights are codes of 4 or 8 bits with scales; depth counts inputs
  int64_t codeBlock = 0;       ///< inputs that share a scale, as they are stored
  bool codeTable = false;      ///< of 4 bits, with one zero point
  bool experts = false;        ///< matrices of which each row meets one
  bool int8Products = false;   ///< and the other operand is rounded to 8 bits
};

/// What the user decides.
struct StrategyOptions {
  /// Products with bf16 weights round the other operand to bf16 too, where all of a kernel's weights are bf16; those of attention round both. So do products with codes in
  /// tile registers.
  bool bf16Products = false;
  /// Products with codes round the other operand to 8 bits, with a scale for each block of a row. Where this is false, llm.linear may permit it (kInt8Input).
  bool int8Products = false;
  /// 2, 3: where tile registers take them, numbers in f32 are multiplied as sums of so many bf16 ones; 0: not. Rows that meet codes only of two.
  int terms = 0;
};

/// Words of the inner dimension that one instruction multiplies in tile registers (Intel AMX), and whether a product's fill them.
inline constexpr int64_t kAmxWords = 16;
bool fillsTiles(const Target &target, const GemmFacts &facts);

strategy::GemmAttr chooseGemm(mlir::MLIRContext *context, const Target &target, const GemmFacts &facts);
strategy::AttentionAttr chooseAttention(mlir::MLIRContext *context, const Target &target, bool bf16Products);

/// The facts of a region around projections, or nothing if a shape is not known.
std::optional<GemmFacts> linearFacts(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options);

/// StrategyOptions::terms where nobody says so: 3, but 0 for a model that the second-level cache holds: one row there is bound by arithmetic and not by reading.
int usualTerms(mlir::ModuleOp planned, const Target &target);

/// Sets the `strategy` of a kernel that has none; families without choices are left alone.
Status chooseStrategy(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options = {});

/// A remark with what a kernel holds, how it will be computed, and who said so.
void explainStrategy(exec::KernelOp kernel, const Target &target, llvm::StringRef source, llvm::StringRef times);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_CHOOSESTRATEGY_H
