//===- ControlFlow.cpp - branches and loops that are decided when compiling ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include "onnx.pb.h"

using namespace mlir;

namespace llmopt::onnx {

/// The problems of a subgraph are recorded where they are; the node itself only fails.
static Status alreadyTold() { return badInput(kNode, ""); }

static constexpr int64_t kMaxIterations = 10'000;

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

/// Both branches are computed and one is chosen, which needs results of one shape. All llm operations can be computed
/// without harm.
static Status importBothBranches(Node &node, Value condition, const GraphProto &thenGraph, const GraphProto &elseGraph) {
  Emitter &e = node.emit;
  auto yes = node.importer.importSubgraph(thenGraph, {});
  auto no = node.importer.importSubgraph(elseGraph, {});
  if (!yes || !no)
    return alreadyTold();
  if (yes->size() != no->size() || yes->size() < size_t(node.proto().output_size()))
    return badInput(kNode, "the branches have " + std::to_string(yes->size()) + " and " + std::to_string(no->size()) + " outputs");
  for (auto [i, pair] : llvm::enumerate(llvm::zip(*yes, *no))) {
    auto [a, b] = pair;
    if (!e.sameShape(a, b) || e.elementType(a) != e.elementType(b))
      return unsupported(kUnsupported, "the condition is not known when compiling and the branches give " +
                                           describeType(e.analysis, a) + " and " + describeType(e.analysis, b));
    node.set(i, a == b ? a : e.select(condition, a, b));
  }
  return {};
}

Status importIf(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  const AttributeProto *thenGraph = node.attribute("then_branch"), *elseGraph = node.attribute("else_branch");
  if (!thenGraph || !elseGraph || !thenGraph->has_g() || !elseGraph->has_g())
    return badInput(kNode, "a branch is missing");
  if (!e.isBool(node.input(0)))
    return badInput(kNode, "the condition is " + describeType(e.analysis, node.input(0)));
  auto condition = e.ints(node.input(0));
  if (!condition || condition->size() != 1)
    return importBothBranches(node, e.toScalar(node.input(0)), thenGraph->g(), elseGraph->g());
  auto values = node.importer.importSubgraph(condition->front() ? thenGraph->g() : elseGraph->g(), {});
  if (!values)
    return alreadyTold();
  for (auto [i, value] : llvm::enumerate(*values))
    node.set(i, value);
  return {};
}

//===----------------------------------------------------------------------===//
// Loop and Scan
//===----------------------------------------------------------------------===//

namespace {

/// Values that pile up over the iterations along a new dimension.
class ScanOutputs {
public:
  ScanOutputs(Emitter &e, size_t count) : e_(e), parts_(count) {}

  void push(size_t i, Value value, int64_t axis, bool backwards) {
    Value part = e_.expandDims(value, e_.axis(axis, e_.rank(value) + 1));
    if (backwards)
      parts_[i].insert(parts_[i].begin(), part);
    else
      parts_[i].push_back(part);
  }
  Value take(size_t i, int64_t axis) {
    if (parts_[i].empty()) {
      e_.unsupported("a loop without iterations that collects values is not supported");
      return {};
    }
    return e_.concat(parts_[i], e_.axis(axis, e_.rank(parts_[i][0])));
  }

private:
  Emitter &e_;
  std::vector<llvm::SmallVector<Value>> parts_;
};

} // namespace

Status importLoop(Node &node) {
  Emitter &e = node.emit;
  const AttributeProto *body = node.attribute("body");
  if (!body || !body->has_g())
    return badInput(kNode, "the body is missing");
  auto trips = node.input(0) ? e.ints(node.input(0)) : std::optional(llvm::SmallVector<int64_t>{INT64_MAX});
  auto condition = node.input(1) ? e.ints(node.input(1)) : std::optional(llvm::SmallVector<int64_t>{1});
  if (!trips || !condition || trips->size() != 1 || condition->size() != 1)
    return unsupported(kUnsupported, "the number of iterations is not known when compiling");
  size_t carried = node.inputCount() < 2 ? 0 : node.inputCount() - 2;
  if (size_t(body->g().output_size()) < carried + 1 || size_t(body->g().input_size()) != carried + 2)
    return badInput(kNode, "the body has " + std::to_string(body->g().input_size()) + " inputs and " +
                               std::to_string(body->g().output_size()) + " outputs for " + std::to_string(carried) + " carried values");
  size_t scanned = size_t(body->g().output_size()) - carried - 1;
  llvm::SmallVector<Value> state(node.inputs().drop_front(std::min<size_t>(2, node.inputCount())));
  ScanOutputs outputs(e, scanned);
  for (int64_t i = 0; i < trips->front() && condition->front(); ++i) {
    if (i >= kMaxIterations)
      return limitExceeded(kFunction, "a loop has more than " + std::to_string(kMaxIterations) + " iterations");
    llvm::SmallVector<Value> inputs{e.integer(i), e.scalar(e.builder.getI1Type(), 1)};
    inputs.append(state);
    auto values = node.importer.importSubgraph(body->g(), inputs);
    if (!values)
      return alreadyTold();
    condition = e.ints((*values)[0]);
    if (!condition || condition->size() != 1)
      return unsupported(kUnsupported, "the number of iterations depends on tensor data");
    state.assign(values->begin() + 1, values->begin() + 1 + int64_t(carried));
    for (size_t j = 0; j < scanned; ++j)
      outputs.push(j, (*values)[1 + carried + j], 0, false);
  }
  for (size_t j = 0; j < carried; ++j)
    node.set(j, state[j]);
  for (size_t j = 0; j < scanned; ++j)
    if (node.wants(carried + j))
      node.set(carried + j, outputs.take(j, 0));
  return {};
}

/// Scan of opset 9: no sequence lengths, no batch dimension.
Status importScan(Node &node) {
  Emitter &e = node.emit;
  const AttributeProto *body = node.attribute("body");
  if (!body || !body->has_g() || node.opset() < 9)
    return unsupported(kUnsupported, "only Scan of opset 9 and later is supported");
  int64_t inputs = node.requiredInteger("num_scan_inputs", 1, int64_t(node.inputCount()));
  if (e.failed() || !node.requireInputs(node.inputCount()))
    return {};
  size_t carried = node.inputCount() - size_t(inputs), bodyOutputs = size_t(body->g().output_size());
  if (bodyOutputs < carried || size_t(body->g().input_size()) != node.inputCount())
    return badInput(kNode, "the body does not go with the inputs");
  auto entry = [&](llvm::StringRef name, size_t i) {
    auto list = node.integers(name);
    return list && i < list->size() ? (*list)[i] : 0;
  };
  llvm::SmallVector<int64_t> axes;
  for (size_t i = 0; i < size_t(inputs); ++i)
    axes.push_back(e.axis(entry("scan_input_axes", i), e.rank(node.input(carried + i))));
  auto length = e.failed() ? std::nullopt : e.staticDim(node.input(carried), axes[0]);
  if (!length || *length > kMaxIterations)
    return unsupported(kUnsupported, "the length of the scanned dimension is not known, or is more than " + std::to_string(kMaxIterations));
  llvm::SmallVector<Value> state(node.inputs().take_front(carried));
  ScanOutputs outputs(e, bodyOutputs - carried);
  for (int64_t step = 0; step < *length; ++step) {
    llvm::SmallVector<Value> arguments(state);
    for (size_t i = 0; i < size_t(inputs); ++i) {
      int64_t at = entry("scan_input_directions", i) ? *length - 1 - step : step;
      arguments.push_back(e.gather(node.input(carried + i), e.integer(at), axes[i]));
    }
    if (e.failed())
      return {};
    auto values = node.importer.importSubgraph(body->g(), arguments);
    if (!values)
      return alreadyTold();
    state.assign(values->begin(), values->begin() + int64_t(carried));
    for (size_t j = 0; j + carried < bodyOutputs; ++j)
      outputs.push(j, (*values)[carried + j], entry("scan_output_axes", j), entry("scan_output_directions", j) != 0);
  }
  for (size_t j = 0; j < carried; ++j)
    node.set(j, state[j]);
  for (size_t j = 0; j + carried < bodyOutputs; ++j)
    if (node.wants(carried + j))
      node.set(carried + j, outputs.take(j, entry("scan_output_axes", j)));
  return {};
}

} // namespace llmopt::onnx
