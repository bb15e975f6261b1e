//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Graphs with inputs of their own: shapes bind symbols, the plan gives the outputs' shapes.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/CheckedMath.h"
#include "runtime/core/EngineState.h"

#include <optional>

using namespace llmopt;
using plan::Expr;

namespace {

/// Gives symbols values by the shapes of inputs.
class SymbolBinder {
public:
  SymbolBinder(const plan::Entry &entry, const std::string &path) : entry_(entry), path_(path), values_(entry.symbols.size()) {}

  Result<std::vector<int64_t>> bind(std::span<const Tensor *const> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i)
      LLMOPT_RETURN_IF_ERROR(bindTensor(buffer(i), *inputs[i]));
    std::vector<int64_t> values;
    for (size_t s = 0; s < values_.size(); ++s) {
      if (!values_[s])
        return internalError("E1504", "no input has dimension '" + entry_.symbols[s] + "'", path_);
      values.push_back(*values_[s]);
    }
    return values;
  }

  /// Dimensions that are expressions, once all symbols have values.
  Status check(std::span<const Tensor *const> inputs, std::span<const int64_t> values) const {
    for (size_t i = 0; i < inputs.size(); ++i)
      for (size_t d = 0; d < buffer(i).shape.size(); ++d)
        if (int64_t expected = values[buffer(i).shape[d]]; inputs[i]->shape()[d] != expected)
          return mismatch(buffer(i), *inputs[i], d, expected);
    return {};
  }

private:
  const plan::Buffer &buffer(size_t input) const { return entry_.buffers[entry_.inputs[input]]; }

  Status bindTensor(const plan::Buffer &buffer, const Tensor &tensor) {
    if (tensor.dtype() != buffer.dtype || tensor.shape().size() != buffer.shape.size())
      return badInput("E1503", "input '" + buffer.name + "' is " + tensor.typeName() + "; expected " + plan::describeType(entry_, buffer), path_);
    for (size_t d = 0; d < buffer.shape.size(); ++d)
      if (const Expr &dim = entry_.expressions[buffer.shape[d]]; dim.op == Expr::Op::Symbol) {
        std::optional<int64_t> &value = values_[size_t(dim.value)];
        if (value && *value != tensor.shape()[d])
          return mismatch(buffer, tensor, d, *value);
        value = tensor.shape()[d];
      }
    return {};
  }

  Status mismatch(const plan::Buffer &buffer, const Tensor &tensor, size_t d, int64_t expected) const {
    std::string dim = plan::describeDim(entry_, buffer.shape[d]);
    std::string why = dim == std::to_string(expected) ? "" : ", as '" + dim + "' is " + std::to_string(expected) + " by the other inputs";
    return badInput("E1503", "input '" + buffer.name + "' is " + tensor.typeName() + ": dimension " + std::to_string(d) + " should be " +
                                 std::to_string(expected) + why, path_);
  }

  const plan::Entry &entry_;
  const std::string &path_;
  std::vector<std::optional<int64_t>> values_;
};

} // namespace

/// Outputs of the plan's shapes, empty.
static Result<std::vector<Tensor>> makeOutputs(const plan::Entry &entry, std::span<const int64_t> values, uint64_t limit) {
  std::vector<Tensor> tensors;
  for (uint32_t index : entry.outputs) {
    const plan::Buffer &buffer = entry.buffers[index];
    std::vector<int64_t> shape;
    for (plan::ExprId dim : buffer.shape)
      shape.push_back(values[dim]);
    std::optional<int64_t> count = checkedElementCount(shape);
    if (!count || uint64_t(*count) > limit / dtypeSize(buffer.dtype))
      return limitExceeded("E1502", "output '" + buffer.name + "' of type " + plan::describeType(entry, buffer) + " is too large for these inputs");
    tensors.emplace_back(buffer.dtype, std::move(shape));
    if (buffer.kind == plan::BufferKind::Output && int64_t(tensors.back().bytes()) > values[buffer.bytes])
      return internalError("E0208", "output '" + buffer.name + "' is larger than its buffer");
  }
  return tensors;
}

Result<std::vector<Tensor>> EngineState::runGraph(std::span<const Tensor *const> inputs) {
  if (!graph)
    return unsupported("E1507", "the model is not a graph with inputs of its own; it runs in steps", path);
  const plan::Entry &entry = graph->entry();
  if (inputs.size() != entry.inputs.size())
    return usageError("E1503", std::to_string(inputs.size()) + " inputs were given; the model has " + std::to_string(entry.inputs.size()), path);
  SymbolBinder binder(entry, path);
  LLMOPT_ASSIGN(std::vector<int64_t> symbols, binder.bind(inputs));

  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  Result<EntryRunner::Shape *> made = graph->shape(symbols);
  if (!made) { // an input of a wrong size says more than what follows from it inside
    LLMOPT_RETURN_IF_ERROR(binder.check(inputs, plan::evaluate(entry.expressions, symbols)));
    return made.status();
  }
  EntryRunner::Shape *shape = *made;
  std::span<const int64_t> values = shape->values;
  LLMOPT_RETURN_IF_ERROR(binder.check(inputs, values));
  LLMOPT_ASSIGN(std::vector<Tensor> outputs, makeOutputs(entry, values, memory.arena.limit()));
  std::vector<BoundTensor> boundInputs, boundOutputs;
  for (const Tensor *tensor : inputs)
    boundInputs.push_back({const_cast<void *>(tensor->data()), tensor->bytes()});
  for (Tensor &tensor : outputs)
    boundOutputs.push_back({tensor.data(), tensor.bytes()});
  StepTable table{};
  LLMOPT_RETURN_IF_ERROR(graph->run(cpu::ThreadTeam::process(), turn, *shape, boundInputs, boundOutputs, table));
  LLMOPT_RETURN_IF_ERROR(artifact->intact());
  return outputs;
}
