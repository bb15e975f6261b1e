//===- Problems.h - everything found wrong, told at once --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_PROBLEMS_H
#define LLMOPT_FRONTENDS_ONNX_PROBLEMS_H

#include "llmopt/lib/Support/Status.h"

#include "llvm/ADT/StringMap.h"

namespace llmopt::onnx {

/// Collects the problems of an import. Equal ones are told once, with their number.
class Problems {
public:
  /// `subject` names what is alike ("Resize", "input 'x'"), `context` the first place.
  void add(const Error &error, const std::string &subject, const std::string &context);
  bool empty() const { return problems_.empty(); }
  /// One error: damage goes before what is merely unsupported.
  Error summary(const std::string &path) const;

private:
  struct Problem {
    Error error;
    std::string subject, context;
    int count = 1;
  };
  std::vector<Problem> problems_;
  llvm::StringMap<size_t> index_;
};

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_PROBLEMS_H
