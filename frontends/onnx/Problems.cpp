//===- Problems.cpp - everything found wrong, told at once ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Problems.h"

#include "ModelFile.h"

#include <algorithm>

namespace llmopt::onnx {

/// Different problems shown; the rest is counted.
static constexpr size_t kMaxShown = 20;

void Problems::add(const Error &error, const std::string &subject, const std::string &context) {
  auto [it, isNew] = index_.try_emplace(subject + "\n" + error.message, problems_.size());
  if (isNew)
    problems_.push_back({error, subject, context});
  else
    ++problems_[it->second].count;
}

Error Problems::summary(const std::string &path) const {
  auto first = std::find_if(problems_.begin(), problems_.end(), [](const Problem &p) { return p.error.kind != ErrorKind::Unsupported; });
  if (first == problems_.end())
    first = problems_.begin();
  Error error = first->error;
  error.context = path + ", " + first->context;
  if (!first->subject.empty())
    error.message = first->subject + ": " + error.message;
  if (first->count > 1)
    error.notes.push_back(std::to_string(first->count - 1) + " more with the same problem");
  size_t shown = 1;
  for (const Problem &problem : problems_) {
    if (&problem == &*first)
      continue;
    if (++shown > kMaxShown) {
      error.notes.push_back("and " + std::to_string(problems_.size() - kMaxShown) + " other problems");
      break;
    }
    error.notes.push_back("also " + problem.subject + ": " + problem.error.message + " (" + problem.context +
                          (problem.count > 1 ? " and " + std::to_string(problem.count - 1) + " more" : std::string()) + ")");
  }
  return error;
}

} // namespace llmopt::onnx
