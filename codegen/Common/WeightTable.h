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
#include "llmopt/lib/Artifact/DrawnWeights.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/Value.h"

namespace llmopt {

class WeightTable {
public:
  /// `seed`: tensors of the store that have no bytes are drawn from it, by the runtime where it can. `jobs`: threads that round matrices; 0: all processors.
  explicit WeightTable(const WeightStore &store, std::optional<uint64_t> seed = std::nullopt, unsigned jobs = 0) : store_(store), seed_(seed), jobs_(jobs) {}

  /// Index into plan::Plan::weights. `value` must live until write().
  Result<uint32_t> add(mlir::Value value, const WeightLayout &layout);
  /// Without their places, which follow when all are known.
  const std::vector<plan::Weight> &rows() const { return rows_; }
  /// The rows for the plan, offsets included.
  std::vector<plan::Weight> placedRows() const;
  /// What the runtime draws behind the section.
  std::vector<DrawnWeight> drawn() const;
  /// What the runtime of a GPU makes there of codes that lie as a CPU's kernels stream them.
  std::vector<RepackedWeight> repacked() const;
  /// Streams the section's bytes.
  Status write(const ArtifactWriter::Sink &sink) const;

private:
  struct Entry {
    mlir::Value value;
    WeightLayout layout;
    std::optional<RandomTensor> random; ///< drawn by the runtime
    std::optional<uint32_t> words;      ///< the row it is made of by the runtime
    bool isStored() const { return !random && !words; }
  };
  /// Places of all rows, and the end of the stored ones.
  std::pair<std::vector<uint64_t>, uint64_t> place() const;
  void shareCodes(uint32_t row);
  std::optional<RandomTensor> described(const std::string &name) const;
  std::optional<RandomTensor> recipeOf(mlir::Value value, const plan::Weight &row) const;
  Status evaluate(mlir::Value value, std::span<const std::byte> &bytes, Tensor &owned) const;
  Status evaluateStack(mlir::Value value, std::span<const std::byte> &bytes, Tensor &owned) const;
  Status packCodes(const Entry &entry, std::span<std::byte> packed) const;
  void addDrawn(mlir::Value value, WeightStore &drawn) const;
  const WeightStore &store_;
  std::optional<uint64_t> seed_;
  unsigned jobs_;
  std::vector<Entry> entries_;
  std::vector<plan::Weight> rows_;
  std::map<std::string, uint32_t> byKey_;
  std::map<std::string, uint32_t> codes_; ///< rows of codes, whatever their order
};

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_WEIGHTTABLE_H
