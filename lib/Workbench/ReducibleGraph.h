//===- ReducibleGraph.h - a graph that can be made smaller ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_REDUCIBLEGRAPH_H
#define LLMOPT_LIB_WORKBENCH_REDUCIBLEGRAPH_H

#include "llmopt/lib/Support/Status.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace llmopt {

/// Operations are numbered in an order in which values are made before they are read. After a change that returns false the graph is not to be
/// used any more.
class ReducibleGraph {
public:
  virtual ~ReducibleGraph() = default;
  virtual std::unique_ptr<ReducibleGraph> clone() const = 0;
  virtual size_t operations() const = 0;
  virtual size_t results() const = 0;
  virtual size_t operandsOf(size_t operation) const = 0;

  virtual bool keepResult(size_t result) = 0;
  /// What the operation makes is returned, and nothing else.
  virtual bool returnOperation(size_t operation) = 0;
  /// What operations [begin, end) make becomes inputs.
  virtual bool cut(size_t begin, size_t end) = 0;
  /// An operation gives way to an operand of its type.
  virtual bool bypass(size_t operation, size_t operand) = 0;
  /// More to try on any graph that came from this one, once each.
  using Change = std::function<bool(ReducibleGraph &)>;
  virtual std::vector<Change> simplifications() const { return {}; }

  /// Drops what is dead; false if the graph is not valid.
  virtual bool settle() = 0;
  /// A file's contents.
  virtual Result<std::string> contents() const = 0;
  virtual const char *extension() const = 0;
};

// ReduceIr.cpp, ReduceOnnx.cpp
Result<std::unique_ptr<ReducibleGraph>> openReducibleIr(const std::string &path);
Result<std::unique_ptr<ReducibleGraph>> openReducibleOnnx(const std::string &path);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_REDUCIBLEGRAPH_H
