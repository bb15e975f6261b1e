//===- WaveTables.h - tables of cos and sin kept as weights -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Some exporters store what others compute: row p of a table is cos, or sin, of p * frequency. Whether a table is that is a question to its
// numbers, so they are read: frequencies are found from the second row, and each row is held against what llm.rope computes.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_WAVETABLES_H
#define LLMOPT_PASSES_FUSION_WAVETABLES_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/BuiltinOps.h"

#include <optional>

namespace llmopt::fusion {

/// While the patterns run, gathers from such tables say so in an attribute.
void markWaveTables(mlir::ModuleOp module, const WeightStore &weights);
void unmarkWaveTables(mlir::ModuleOp module);

/// Columns of a gather's table.
struct StoredWaves {
  bool isSine = false, twice = false; ///< twice: the angles fill the columns a second time
  double scale = 1;
  mlir::DenseElementsAttr frequencies;
};
std::optional<StoredWaves> storedWaves(llm::GatherOp gather, int64_t begin, int64_t end);

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_WAVETABLES_H
