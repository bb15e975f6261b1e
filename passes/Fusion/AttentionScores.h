//===- AttentionScores.h - from the softmax down to Q K^T ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters scale, cap, mask and replace scores in any order. All of it is one form,
//
//   softcap(product * scale) + mask
//
// where scores are replaced by numbers so low that adding them is the same.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_FUSION_ATTENTIONSCORES_H
#define LLMOPT_PASSES_FUSION_ATTENTIONSCORES_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/PatternMatch.h"

namespace llmopt::fusion {

/// Takes factors that are one number off a value, and multiplies `scale` by them.
mlir::Value withoutScale(mlir::Value value, double &scale);

class AttentionScores {
public:
  /// Looks down from the softmax's input, touching nothing. False: no way leads to a product, or somebody else reads a value on it.
  bool match(mlir::Value scores);
  /// Where the way down ended, for whoever has to explain.
  mlir::Value stoppedAt() const { return at_; }

  llm::MatMulOp product;
  double scale = 1, softcap = 0;
  mlir::Value mask; ///< after build(), or null

  /// Creates the mask.
  void build(mlir::PatternRewriter &rewriter, ShapeAnalysis &shapes);

private:
  enum class Kind { Scale, Tanh, Add, Subtract, Replace };
  struct Step {
    Kind kind;
    mlir::Value operand = {}; ///< what is added; the condition under which a score stays
    double number = 0;        ///< Scale; the replacement
    bool negated = false;     ///< Replace: the condition says which scores go
  };
  /// The step that makes `value`, and the value before it; nothing where no step is known.
  static std::optional<std::pair<Step, mlir::Value>> stepOf(mlir::Value value);
  static bool leadsToProduct(mlir::Value value, int depth = 0);
  bool fitsOneForm() const;

  mlir::Value at_;
  llvm::SmallVector<Step> steps_; ///< from the softmax down
};

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_FUSION_ATTENTIONSCORES_H
