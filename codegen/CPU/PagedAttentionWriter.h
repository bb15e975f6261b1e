//===- PagedAttentionWriter.h - attention over the cache --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_PAGEDATTENTIONWRITER_H
#define LLMOPT_CODEGEN_CPU_PAGEDATTENTIONWRITER_H

#include "codegen/CPU/AttentionCore.h"
#include "codegen/CPU/AttentionRope.h"
#include "codegen/CPU/KernelFamily.h"
#include "codegen/Common/CacheLayout.h"

namespace llmopt::cpu {

struct PagedProblem {
  /// `firstFree`: the number of operands; the result and the state are bound after them.
  PagedProblem(llm::PagedAttentionOp op, const HeadsSource &queries, unsigned firstFree);
  int64_t group() const { return heads / kvHeads; }

  llm::PagedAttentionOp op;
  HeadsSource queries;
  unsigned output, state, shared;
  int64_t heads, kvHeads;
  CacheLayout layout;
  int64_t tileTokens = 1;  ///< with one key-value head; or
  int64_t headsAtOnce = 1; ///< of one token
  bool amx = false;         ///< products in tile registers
  bool inRanges = false;    ///< keys are cut into ranges, in steps of any size
  bool dealsRanges = false; ///< to threads, in this one
  /// Floats that the kernels share: what each row of `tokens` tokens has of each range.
  int64_t sharedElements(int64_t tokens) const;
};

/// Write kernels; return the scratch bytes they need. Of a problem in ranges the first writes what single tokens have of each range, and the other
/// (a unit is a query head of a token) joins it.
int64_t emitPagedAttention(KernelBuilder &b, const PagedProblem &problem, const Target &target, mlir::Value tokens);
int64_t emitJoinedRanges(KernelBuilder &b, const PagedProblem &problem, const Target &target);
/// The same for units of one token with one head, which are dealt in tiles where a sequence has several tokens.
int64_t emitFewTokens(KernelBuilder &b, const PagedProblem &tiled, const Target &target, mlir::Value tokens);

/// The operation behind changes of shape.
mlir::Operation *throughViewsTo(mlir::Value value);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_PAGEDATTENTIONWRITER_H
