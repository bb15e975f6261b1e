//===- AttentionStep.h - reading the step table in a kernel -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ATTENTIONSTEP_H
#define LLMOPT_CODEGEN_CPU_ATTENTIONSTEP_H

#include "codegen/CPU/KernelBuilder.h"
#include "llmopt/dialects/LLM/LLM.h"

namespace llmopt::cpu {

/// Fields of one sequence's row, as i64.
struct SequenceFields {
  mlir::Value first, past, length, table;
};

/// Reads the StepTable (lib/Artifact/KernelABI.h) for the states of one group.
class StepReader {
public:
  StepReader(KernelBuilder &b, llm::SequenceGroup group);

  /// Number of the sequence that a token of the step belongs to.
  mlir::Value sequenceOf(mlir::Value token);
  SequenceFields fields(mlir::Value sequence);
  /// Number of the cache block that holds tokens [64 * index, 64 * index + 64) of the sequence.
  mlir::Value block(const SequenceFields &sequence, mlir::Value index);
  /// Calls `body` for each run of tokens in [begin, end) that belong to one sequence.
  void forEachRun(mlir::Value begin, mlir::Value end, llvm::function_ref<void(mlir::Value first, mlir::Value count)> body);

private:
  mlir::Value loadUnsigned(mlir::Value base, mlir::Value byteOffset);
  mlir::Value loadPointer(int64_t byteOffset);
  KernelBuilder &b_;
  mlir::Value rows_, blocks_, tokenSequence_;
};

/// Follows `value` back through changes of shape to the block argument that holds the same bytes; null if there is none.
mlir::Value throughViews(mlir::Value value);

/// Where heads [tokens, heads, D] come from: a block argument, rotated on the way if `rope` is set.
struct HeadsSource {
  mlir::Value argument;
  llm::RopeOp rope;
};
/// A source without `argument` was not understood.
HeadsSource traceHeads(mlir::Value heads);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ATTENTIONSTEP_H
