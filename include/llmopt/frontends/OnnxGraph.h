//===- OnnxGraph.h - an ONNX file that is made smaller ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The message of an ONNX file, changed piece by piece and written again, for whoever looks for the part that matters
// (llmopt-reduce). Types of values that the file does not declare are those that the importer finds.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNXGRAPH_H
#define LLMOPT_FRONTENDS_ONNXGRAPH_H

#include "llmopt/lib/Support/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llmopt {

class OnnxGraph {
public:
  /// Reads the file, and takes external data into the message. What the importer cannot read may be opened too.
  static Result<OnnxGraph> open(const std::string &path);
  OnnxGraph(const OnnxGraph &other);
  OnnxGraph(OnnxGraph &&other) noexcept;
  OnnxGraph &operator=(OnnxGraph &&other) noexcept;
  ~OnnxGraph();

  size_t nodes() const; ///< in an order in which values are made before they are read
  size_t outputs() const;
  size_t inputsOf(size_t node) const;
  std::vector<std::string> weights() const;     ///< names of initializers, the largest first
  std::vector<std::string> dimensions() const;  ///< names of the inputs' dimensions
  std::vector<int64_t> sizes() const;           ///< sizes above 1 that inputs and initializers have, the largest first

  // Changes; false where one does not apply, and then the graph is not to be used any more.

  bool keepOutput(size_t output);
  /// The graph returns what this node makes, and nothing else.
  bool returnNode(size_t node);
  /// Values that nodes [begin, end) make become inputs, or initializers where they are known.
  bool cut(size_t begin, size_t end);
  /// Whoever read the node's output reads its input.
  bool bypass(size_t node, size_t input);
  bool makeInput(const std::string &weight);
  bool fixDimension(const std::string &name, int64_t size);
  /// Sizes that are multiples of `from` become as many times `to`: of inputs and initializers, which lose their ends, and in small
  /// integer tensors that may be shapes; with `attributes` in those of nodes, too.
  bool shrink(int64_t from, int64_t to, bool attributes);

  /// After a change: drops what nobody reads, and finds types again. False where the importer can no longer read what it could read.
  bool settle();
  /// The file's contents. E0103 above 2 GiB.
  Result<std::string> bytes() const;

private:
  struct Impl;
  explicit OnnxGraph(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_ONNXGRAPH_H
