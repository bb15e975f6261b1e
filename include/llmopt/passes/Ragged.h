//===- Ragged.h - padded decoders as ragged steps ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_RAGGED_H
#define LLMOPT_PASSES_RAGGED_H

#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/Pass/Pass.h"
#include "llvm/ADT/StringRef.h"

#include <memory>

namespace llmopt {

/// On function `main` of a graph that is a decoder: which argument and result is what.
/// {ids, mask, positions, logits: integers, -1 where there is none; past = [array<i64: argument, result>, ...]}
inline constexpr llvm::StringLiteral kDecoderAttr = "llm.decoder";

/// On function `step`: the longest sequence that the graph's own tables allow. On an `llm.rope` that was read from a table: its rows.
inline constexpr llvm::StringLiteral kMaxPositionsAttr = "llm.max_positions";

/// `llmopt-make-ragged-step`: adds `step` beside `main` where that is proven to mean the same.
std::unique_ptr<mlir::Pass> createMakeRaggedStepPass(const WeightStore &weights);
/// For modules that refer to no weights.
std::unique_ptr<mlir::Pass> createMakeRaggedStepPass();

/// `llmopt-asked-rows`: what is behind the last attention works on the rows whose logits are asked for.
std::unique_ptr<mlir::Pass> createAskedRowsPass();

} // namespace llmopt

#endif // LLMOPT_PASSES_RAGGED_H
