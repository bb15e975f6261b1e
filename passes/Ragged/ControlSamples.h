//===- ControlSamples.h - what masks and positions are, by trying -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters compute masks and positions in endlessly many ways, but always from sizes, the padding mask and constants, never
// from what the model computes. So their meaning is found by evaluating them: at all small sizes, and at sizes on both sides
// of every number that occurs in the computation (a window, the size of a table). See docs/rationale/ragged-step.md.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_RAGGED_CONTROLSAMPLES_H
#define LLMOPT_PASSES_RAGGED_CONTROLSAMPLES_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"

#include <optional>
#include <vector>

namespace llmopt::ragged {

/// One sequence alone, nothing padded: `tokens` new ones after `past` old ones.
struct Sample {
  int64_t past = 0, tokens = 1;
  int64_t total() const { return past + tokens; }
};

/// What an input of the graph holds in a sample.
enum class Control : uint8_t {
  PaddingMask, ///< ones [1, past + tokens]
  Positions,   ///< past, past + 1, ... [1, tokens]
};

class ControlSamples {
public:
  /// Sizes are expressions in the symbols `past` and `tokens` of the analysis.
  ControlSamples(mlir::MLIRContext *context, ShapeAnalysis &shapes, const WeightStore &weights)
      : context_(context), shapes_(shapes), weights_(weights) {}

  void addInput(mlir::Value input, Control meaning) { inputs_[input] = meaning; }

  /// For code that erases operations: a new value could get the old one's address.
  void forget(mlir::Operation *op);
  /// True when the value depends on sizes, control inputs and constants alone, and on a size or a control input at all.
  bool isControl(mlir::Value value) { return sourcesOf(value) == kControl; }
  /// The value in each sample: at all small sizes and around the numbers its computation holds. Nothing where it cannot be
  /// evaluated at small sizes. The list ends at the first larger size that cannot be (a table is too small for it).
  struct Values {
    std::vector<std::pair<Sample, Tensor>> samples;
    std::vector<int64_t> numbers;   ///< integers above 1 that the computation holds
    std::optional<int64_t> longest; ///< past + tokens beyond which it cannot be evaluated
  };
  std::optional<Values> evaluate(mlir::Value value);

private:
  enum Sources : uint8_t { kNone = 0, kControl = 1, kData = 2 };
  uint8_t sourcesOf(mlir::Value value);
  std::optional<Tensor> evaluateAt(mlir::Value value, Sample sample);
  void collectSlice(mlir::Value value, llvm::SetVector<mlir::Operation *> &slice);

  mlir::MLIRContext *context_;
  ShapeAnalysis &shapes_;
  const WeightStore &weights_;
  llvm::DenseMap<mlir::Value, Control> inputs_;
  llvm::DenseMap<mlir::Value, uint8_t> sources_;
};

} // namespace llmopt::ragged

#endif // LLMOPT_PASSES_RAGGED_CONTROLSAMPLES_H
