//===- Problems.h - everything found wrong, told at once --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_PROBLEMS_H
#define LLMOPT_FRONTENDS_HF_PROBLEMS_H

#include "llmopt/lib/Support/Status.h"

#include <set>
#include <string>
#include <vector>

namespace llmopt::hf {

/// Collects what stands in the way of an import, so that one error can list all of it.
class Problems {
public:
  /// Understood, but llmopt cannot do it (E0411).
  void unsupported(std::string text) { add(unsupported_, std::move(text)); }
  /// The folder contradicts itself or lacks something (E0412).
  void invalid(std::string text) { add(invalid_, std::move(text)); }
  /// Keeps what a failed call said.
  void absorb(const Status &status);

  bool empty() const { return unsupported_.empty() && invalid_.empty(); }
  /// Success, or one error with a note for each problem.
  Status status(const std::string &context) const;

private:
  void add(std::vector<std::string> &list, std::string text) {
    if (seen_.insert(text).second) // every layer would say the same
      list.push_back(std::move(text));
  }
  std::vector<std::string> unsupported_, invalid_;
  std::set<std::string> seen_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_PROBLEMS_H
