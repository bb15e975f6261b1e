//===- AgreementRuns.h - the same inputs for interpreter and engine ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_AGREEMENTRUNS_H
#define LLMOPT_LIB_WORKBENCH_AGREEMENTRUNS_H

#include "llmopt/frontends/ImportedModel.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Workbench/Agreement.h"
#include "llmopt/runtime/Engine.h"

#include <memory>

namespace llmopt {

class AgreementRuns {
public:
  static Result<AgreementRuns> create(const std::string &model, const AgreementOptions &options);
  bool isGraph() { return has("main"); }

  /// Results in the same order, named alike.
  Result<std::vector<NamedTensor>> onInterpreter();
  Result<std::vector<NamedTensor>> onEngine(const Engine &engine) const;

  /// Of a graph that is a decoder: what its ragged step has to give, found by running each sequence alone. Empty for another graph,
  /// and for one with inputs whose meaning is not known.
  Result<std::vector<NamedTensor>> stepsOnInterpreter();
  Result<std::vector<NamedTensor>> stepsOnEngine(const Engine &engine) const;

private:
  using Tokens = std::vector<int32_t>;
  /// Tokens of each sequence in one ragged step; a sequence without tokens sits out.
  struct Step {
    std::vector<Tokens> tokens;
    std::string name;
  };
  struct Ragged {
    std::vector<Tokens> sources; ///< for the encoder
    std::vector<Step> steps;
  };

  Status makeSteps(const AgreementOptions &options);
  Status makeInputs(const AgreementOptions &options);
  Result<Tensor> interpretStep(class Interpreter &interpreter, const std::string &function, const Step &step, std::vector<int64_t> &past);
  bool has(const char *function) { return model_->module->lookupSymbol(function) != nullptr; }

  std::unique_ptr<mlir::MLIRContext> context_;
  std::unique_ptr<ImportedModel> model_; // behind the context, which must live longer
  Ragged ragged_;
  std::vector<NamedTensor> inputs_;      ///< of a graph
  std::vector<std::string> outputNames_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_AGREEMENTRUNS_H
