//===- AttentionDense.h - attention over padded batches ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ATTENTIONDENSE_H
#define LLMOPT_CODEGEN_CPU_ATTENTIONDENSE_H

#include "codegen/CPU/AttentionCore.h"
#include "codegen/CPU/KernelFamily.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/StridedLayout.h"

namespace llmopt::cpu {

/// Rows of features: that of head h and token t of batch entry b begins at offset + b * batch + h * head + t * token.
struct DenseRows {
  unsigned binding = 0;
  SymExpr offset, batch, head;
  int64_t token = 0;
};

struct DenseProblem {
  llm::AttentionOp op;
  DenseRows query, key, value, output;
  mlir::Value mask;                    ///< block argument, or null
  SymExpr batch, queries, keys;        ///< B, S, T
  int64_t heads = 0, kvHeads = 0, keySize = 0, valueSize = 0;
  llvm::SmallVector<SymExpr, 4> maskDims;
  bool bf16Products = false, amx = false;
  int64_t group() const { return heads / kvHeads; }
  /// Query tokens of one work unit, which has `group` rows each.
  int64_t tileTokens() const { return std::max<int64_t>(1, 96 / group()); }
};

/// What the attention of a region asks for; an error says why no kernel takes it.
Result<DenseProblem> denseProblem(exec::KernelOp kernel, ShapeAnalysis &shapes);
/// The sizes that a kernel for it has to know at run time, and what it costs.
void addDimsAndCosts(const DenseProblem &problem, SymContext &symbols, LoweredKernel &kernel);

/// Writes the kernel; a work unit is a tile of query tokens with one key-value head of one batch entry. Returns the scratch
/// bytes needed.
int64_t emitDenseAttention(KernelBuilder &b, const DenseProblem &problem, const Target &target, SymContext &symbols);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ATTENTIONDENSE_H
