//===- Agreement.h - compiled code against the reference interpreter *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interpreter runs the model as it was imported, before any pass; the compiled artifact of each level must give the same numbers
// for the same inputs. Decoders run a few ragged steps (two sequences of different length, single tokens, one sequence alone),
// encoders two sequences, encoder-decoders both; graphs run on their own inputs, made up or from a folder.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_AGREEMENT_H
#define LLMOPT_LIB_WORKBENCH_AGREEMENT_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmopt {

struct AgreementOptions {
  CompileOptions compile; ///< its level is not used
  std::vector<OptLevel> levels = {OptLevel::O0, OptLevel::O3};
  std::string testData;                     ///< graphs: folder with input_N.pb; empty: random numbers
  std::map<std::string, int64_t> sizes;     ///< graphs: values of dynamic dimensions; others are made up
  uint32_t seed = 1;
  unsigned threads = 0;
  double rtol = 1e-3, atol = 1e-4;
};

/// One result of one level.
struct AgreementRow {
  std::string name; ///< "step 2: 1 + 1 tokens"
  OptLevel level = OptLevel::O0;
  double difference = 0, largest = 0; ///< greatest |compiled - interpreted|, greatest |interpreted|
  Status status;                      ///< E0501, E0502 where they differ, E0507 where the interpreter gave NaN
};

/// `onRow` is called for each result as it comes. The error is what kept the model from running; that results differ is not.
Result<std::vector<AgreementRow>> compareWithInterpreter(const std::string &model, const AgreementOptions &options,
                                                         const std::function<void(const AgreementRow &)> &onRow);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_AGREEMENT_H
