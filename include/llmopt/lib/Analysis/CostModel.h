//===- CostModel.h - is a fused operation worth it -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rough, and in doubt for the fusion: what is close, `llmopt-compile --tune` measures.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_COSTMODEL_H
#define LLMOPT_LIB_ANALYSIS_COSTMODEL_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include <optional>
#include <string>

namespace llmopt {

/// Of a processor core: what the model needs of a row of the target table.
struct CoreFacts {
  int64_t lanes = 4; ///< f32 elements of a vector
  bool fma = false;
  int64_t l2Bytes = 512 << 10, l3Bytes = 16 << 20;
};

/// Cycles of one core, at sizes that are typical for the operation's symbols.
struct FusionCost {
  double fused = 0, apart = 0;
  std::string sizes; ///< "1 x 12 heads, 128 queries, 128 keys of 64"
};

/// Nothing where a size is unknown.
std::optional<FusionCost> attentionCost(llm::AttentionOp op, ShapeAnalysis &shapes, const CoreFacts &core);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_COSTMODEL_H
