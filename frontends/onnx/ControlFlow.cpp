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

/// Collected values have one element for each iteration.
static std::optional<int64_t> declaredIterations(const Node &node, size_t carried) {
  for (size_t i = carried; i < node.outputCount(); ++i)
    if (auto shape = node.declaredShape(i); shape && !shape->empty())
      return shape->front();
  return std::nullopt;
}

Status importLoop(Node &node) {
  Emitter &e = node.emit;
  const AttributeProto *body = node.attribute("body");
  if (!body || !body->has_g())
    return badInput(kNode, "the body is missing");
  auto trips = node.input(0) ? e.ints(node.input(0)) : std::optional(llvm::SmallVector<int64_t>{INT64_MAX});
  auto condition = node.input(1) ? e.ints(node.input(1)) : std::optional(llvm::SmallVector<int64_t>{1});
  size_t carried = node.inputCount() < 2 ? 0 : node.inputCount() - 2;
  // What only the running model knows may still be declared, by the length of collected values.
  std::optional<int64_t> declared = trips && condition ? std::nullopt : declaredIterations(node, carried);
  if (declared)
    trips = {*declared}, condition = {1};
  if (!trips || !condition || trips->size() != 1 || condition->size() != 1)
    return unsupported(kUnsupported, "the number of iterations is not known when compiling");
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
    if (!declared)
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

namespace {

/// The attributes of a Scan node, as opset 9 has them.
struct ScanSpec {
  const GraphProto *body = nullptr;
  size_t carried = 0, scanned = 0, collected = 0;
  llvm::SmallVector<int64_t> axes, inputBackwards, outputAxes, outputBackwards;
};

std::optional<ScanSpec> readScan(Node &node, size_t inputs) {
  Emitter &e = node.emit;
  const AttributeProto *body = node.attribute("body");
  if (!body || !body->has_g()) {
    e.invalid("the body is missing");
    return std::nullopt;
  }
  ScanSpec spec;
  spec.body = &body->g();
  spec.scanned = size_t(node.requiredInteger("num_scan_inputs", 1, int64_t(inputs)));
  if (e.failed())
    return std::nullopt;
  spec.carried = inputs - spec.scanned;
  size_t outputs = size_t(spec.body->output_size());
  if (outputs < spec.carried || size_t(spec.body->input_size()) != inputs) {
    e.invalid("the body does not go with the inputs");
    return std::nullopt;
  }
  spec.collected = outputs - spec.carried;
  auto list = [&](llvm::StringRef name, size_t size) {
    llvm::SmallVector<int64_t> values = node.integers(name).value_or(llvm::SmallVector<int64_t>());
    values.resize(size, 0);
    return values;
  };
  bool isOld = node.opset() < 9; // "directions" were the inputs', and there were no axes
  spec.axes = isOld ? llvm::SmallVector<int64_t>(spec.scanned, 0) : list("scan_input_axes", spec.scanned);
  spec.inputBackwards = list(isOld ? "directions" : "scan_input_directions", spec.scanned);
  spec.outputAxes = list("scan_output_axes", spec.collected);
  spec.outputBackwards = list("scan_output_directions", spec.collected);
  return spec;
}

/// Results of the body, unrolled over the scanned dimension. Empty: the problem is in `status`, or recorded.
llvm::SmallVector<Value> scan(Node &node, const ScanSpec &spec, ArrayRef<Value> inputs, Status &status) {
  Emitter &e = node.emit;
  llvm::SmallVector<int64_t> axes;
  for (size_t i = 0; i < spec.scanned; ++i)
    axes.push_back(e.axis(spec.axes[i], e.rank(inputs[spec.carried + i])));
  auto length = e.failed() ? std::nullopt : e.staticDim(inputs[spec.carried], axes[0]);
  if (!length || *length > kMaxIterations) {
    status = unsupported(kUnsupported, "the length of the scanned dimension is not known, or is more than " + std::to_string(kMaxIterations));
    return {};
  }
  llvm::SmallVector<Value> state(inputs.take_front(spec.carried));
  ScanOutputs outputs(e, spec.collected);
  for (int64_t step = 0; step < *length; ++step) {
    llvm::SmallVector<Value> arguments(state);
    for (size_t i = 0; i < spec.scanned; ++i) {
      int64_t at = spec.inputBackwards[i] ? *length - 1 - step : step;
      arguments.push_back(e.gather(inputs[spec.carried + i], e.integer(at), axes[i]));
    }
    if (e.failed())
      return {};
    auto values = node.importer.importSubgraph(*spec.body, arguments);
    if (!values) {
      status = alreadyTold();
      return {};
    }
    state.assign(values->begin(), values->begin() + int64_t(spec.carried));
    for (size_t j = 0; j < spec.collected; ++j)
      outputs.push(j, (*values)[spec.carried + j], spec.outputAxes[j], spec.outputBackwards[j] != 0);
  }
  for (size_t j = 0; j < spec.collected; ++j)
    state.push_back(node.wants(spec.carried + j) ? outputs.take(j, spec.outputAxes[j]) : Value());
  return state;
}

} // namespace

Status importScan(Node &node) {
  if (!node.requireInputs(node.inputCount()))
    return {};
  auto spec = readScan(node, node.inputCount());
  if (!spec)
    return {};
  Status status;
  for (auto [i, value] : llvm::enumerate(scan(node, *spec, node.inputs(), status)))
    if (value)
      node.set(i, value);
  return status;
}

/// Scan of opset 8: sequence lengths come first, and each batch row is scanned for itself.
Status importBatchScan(Node &node) {
  Emitter &e = node.emit;
  if (node.input(0))
    return unsupported(kUnsupported, "Scan of opset 8 with sequence_lens is not supported");
  llvm::SmallVector<Value> inputs(node.inputs().drop_front(1));
  if (inputs.empty() || llvm::is_contained(inputs, Value()))
    return badInput(kNode, "an input is missing");
  auto spec = readScan(node, inputs.size());
  auto batch = spec ? e.staticDim(inputs[0], 0) : std::nullopt;
  if (!spec || !batch || *batch < 1 || *batch > kMaxIterations)
    return e.failed() ? Status() : unsupported(kUnsupported, "the batch size is not known when compiling");
  std::vector<llvm::SmallVector<Value>> rows;
  for (int64_t b = 0; b < *batch; ++b) {
    llvm::SmallVector<Value> row;
    for (Value input : inputs)
      row.push_back(e.gather(input, e.integer(b), 0));
    Status status;
    llvm::SmallVector<Value> results = scan(node, *spec, row, status);
    if (!status || e.failed())
      return status;
    rows.resize(results.size());
    for (auto [i, value] : llvm::enumerate(results))
      rows[i].push_back(value ? e.expandDims(value, 0) : Value());
  }
  for (auto [i, values] : llvm::enumerate(rows))
    if (values[0])
      node.set(i, e.concat(values, 0));
  return {};
}

} // namespace llmopt::onnx
