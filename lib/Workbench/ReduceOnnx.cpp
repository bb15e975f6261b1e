//===- ReduceOnnx.cpp - an ONNX file as a graph that can be made smaller -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/ReducibleGraph.h"
#include "llmopt/frontends/OnnxGraph.h"

using namespace llmopt;

namespace {

class ReducibleOnnx final : public ReducibleGraph {
public:
  explicit ReducibleOnnx(OnnxGraph graph) : graph_(std::move(graph)) {}

  std::unique_ptr<ReducibleGraph> clone() const override { return std::make_unique<ReducibleOnnx>(graph_); }
  size_t operations() const override { return graph_.nodes(); }
  size_t results() const override { return graph_.outputs(); }
  size_t operandsOf(size_t operation) const override { return graph_.inputsOf(operation); }
  bool keepResult(size_t result) override { return graph_.keepOutput(result); }
  bool returnOperation(size_t operation) override { return graph_.returnNode(operation); }
  bool cut(size_t begin, size_t end) override { return graph_.cut(begin, end); }
  bool bypass(size_t operation, size_t operand) override { return graph_.bypass(operation, operand); }
  bool settle() override { return graph_.settle(); }
  Result<std::string> contents() const override { return graph_.bytes(); }
  const char *extension() const override { return ".onnx"; }

  /// Fewer bytes: weights become inputs, named dimensions numbers (then shapes that were computed are constants, which can be cut),
  /// and sizes small.
  std::vector<Change> simplifications() const override {
    std::vector<Change> changes;
    auto add = [&](std::function<bool(OnnxGraph &)> change) {
      changes.push_back([change](ReducibleGraph &graph) { return change(static_cast<ReducibleOnnx &>(graph).graph_); });
    };
    for (const std::string &weight : graph_.weights())
      add([weight](OnnxGraph &graph) { return graph.makeInput(weight); });
    for (const std::string &name : graph_.dimensions())
      for (int64_t size : {1, 2, 5})
        add([name, size](OnnxGraph &graph) { return graph.fixDimension(name, size); });
    for (int64_t from : graph_.sizes())
      for (int64_t to : {int64_t(1), int64_t(2), int64_t(4), from / 8, from / 2})
        for (bool attributes : {false, true})
          if (to > 0 && to < from)
            add([=](OnnxGraph &graph) { return graph.shrink(from, to, attributes); });
    return changes;
  }

private:
  OnnxGraph graph_;
};

} // namespace

Result<std::unique_ptr<ReducibleGraph>> llmopt::openReducibleOnnx(const std::string &path) {
  LLMOPT_ASSIGN(OnnxGraph graph, OnnxGraph::open(path));
  return std::unique_ptr<ReducibleGraph>(std::make_unique<ReducibleOnnx>(std::move(graph)));
}
