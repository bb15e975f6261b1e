//===- WeightTable.h - the weight section of an artifact -------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Collects the weight operands of all kernels, each with the layout its kernel streams, so that equal ones are stored
// once, and writes the section. An operand is `llm.weight`, `llm.constant`, or an expression over them, evaluated when written:
// no more than one tensor is in memory at a time.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_WEIGHTTABLE_H
#define LLMOPT_CODEGEN_COMMON_WEIGHTTABLE_H

#include "codegen/Common/LoweredKernel.h"
#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/Value.h"

namespace llmopt {

class WeightTable {
public:
  explicit WeightTable(const WeightStore &store) : store_(store) {}

  /// Index into plan::Plan::weights. `value` must live until write().
  Result<uint32_t> add(mlir::Value value, const WeightLayout &layout);
  /// The rows for the plan, offsets included.
  const std::vector<plan::Weight> &rows() const { return rows_; }
  /// Streams the section's bytes.
  Status write(const ArtifactWriter::Sink &sink) const;

private:
  struct Entry {
    mlir::Value value;
    WeightLayout layout;
  };
  const WeightStore &store_;
  std::vector<Entry> entries_;
  std::vector<plan::Weight> rows_;
  std::map<std::string, uint32_t> byKey_;
  uint64_t end_ = 64; // kernels may read 64 bytes before a tensor
};

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_WEIGHTTABLE_H
