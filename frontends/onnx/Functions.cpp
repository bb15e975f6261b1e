//===- Functions.cpp - the model's own functions are inlined --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>

using namespace mlir;

namespace llmopt::onnx {

/// Functions that call functions, on the native stack.
static constexpr size_t kMaxCallDepth = 64;

Status Importer::tooManyNodes() const {
  return limitExceeded(kFunction, "the model has more than " + std::to_string(kMaxNodes) + " nodes once functions are inlined", path_);
}

//===----------------------------------------------------------------------===//
// Before anything is inlined: which functions there are, and how large they become
//===----------------------------------------------------------------------===//

const FunctionProto *Importer::findFunction(const NodeProto &node) const {
  if (functions_.empty())
    return nullptr;
  auto it = functions_.find({normalDomain(node.domain()).str(), node.op_type(), node.overload()});
  return it == functions_.end() ? nullptr : it->second;
}

Status Importer::indexFunctions() {
  for (const FunctionProto &function : model_->functions()) {
    std::string name = "function '" + replaceInvalidUtf8(function.name()) + "'";
    FunctionKey key{normalDomain(function.domain()).str(), function.name(), function.overload()};
    if (!functions_.try_emplace(key, &function).second)
      return badInput(kFunction, name + " is there twice", path_);
    OpsetMap &opsets = functionOpsets_[&function];
    LLMOPT_RETURN_IF_ERROR(readOpsets(function.opset_import(), opsets, path_ + ", " + name));
    for (const auto &[domain, version] : modelOpsets_) // a body may leave out what the model imports
      opsets.try_emplace(domain, version);
  }
  for (const FunctionProto &function : model_->functions()) {
    std::vector<const FunctionProto *> callers;
    LLMOPT_RETURN_IF_ERROR(measureFunction(function, callers));
  }
  int64_t total = 0;
  LLMOPT_RETURN_IF_ERROR(measureNodes(model_->graph().node(), total, nullptr));
  return total > kMaxNodes ? tooManyNodes() : Status();
}

/// Adds the nodes that `nodes` become. Functions they call are measured first if `callers` is given.
Status Importer::measureNodes(const NodeList &nodes, int64_t &total, std::vector<const FunctionProto *> *callers) {
  for (const NodeProto &node : nodes) {
    ++total;
    if (const FunctionProto *function = findFunction(node)) {
      if (callers)
        LLMOPT_RETURN_IF_ERROR(measureFunction(*function, *callers));
      total += functionSizes_[function];
    }
    for (const AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        LLMOPT_RETURN_IF_ERROR(measureNodes(attribute.g().node(), total, callers));
      for (const GraphProto &graph : attribute.graphs())
        LLMOPT_RETURN_IF_ERROR(measureNodes(graph.node(), total, callers));
    }
    total = std::min(total, kMaxNodes + 1); // sums of sums stay small
  }
  return {};
}

Status Importer::measureFunction(const FunctionProto &function, std::vector<const FunctionProto *> &callers) {
  if (functionSizes_.count(&function))
    return {};
  if (auto again = std::find(callers.begin(), callers.end(), &function); again != callers.end()) {
    std::string cycle;
    for (; again != callers.end(); ++again)
      cycle += replaceInvalidUtf8((*again)->name()) + "->";
    return badInput(kFunction, "functions call each other in a cycle: " + cycle + replaceInvalidUtf8(function.name()), path_);
  }
  if (callers.size() >= kMaxCallDepth)
    return limitExceeded(kFunction, "function calls are nested deeper than " + std::to_string(kMaxCallDepth), path_);
  callers.push_back(&function);
  int64_t total = 0;
  LLMOPT_RETURN_IF_ERROR(measureNodes(function.node(), total, &callers));
  callers.pop_back();
  functionSizes_[&function] = total;
  return {};
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Status Importer::callFunction(const FunctionProto &function, const NodeProto &call, ArrayRef<Value> inputs, AttributeMap attributes,
                              int index, Scope &scope) {
  if (inputs.size() > size_t(function.input_size()) || call.output_size() > function.output_size())
    return badInput(kFunction, describeNode(call, index) + " has " + std::to_string(inputs.size()) + " inputs and " +
                                   std::to_string(call.output_size()) + " outputs, the function has " +
                                   std::to_string(function.input_size()) + " and " + std::to_string(function.output_size()), path_);
  for (const AttributeProto &byDefault : function.attribute_proto())
    attributes.try_emplace(byDefault.name(), &byDefault);

  Scope inner;
  inner.opsets = &functionOpsets_[&function];
  inner.bindings = &attributes;
  inner.prefix = scope.prefix + (call.name().empty() ? call.op_type() + "#" + std::to_string(index) : call.name()) + "/";
  inner.depth = scope.depth;
  llvm::StringSet<> given;
  for (int i = 0; i < function.input_size(); ++i) {
    inner.values[function.input(i)] = {size_t(i) < inputs.size() ? inputs[i] : Value(), false};
    given.insert(function.input(i));
  }
  for (const auto &info : function.value_info())
    inner.declared[info.name()] = &info.type();
  LLMOPT_RETURN_IF_ERROR(importNodes(function.node(), given, inner));
  for (int i = 0; i < call.output_size(); ++i) {
    if (call.output(i).empty())
      continue;
    Named *value = lookup(function.output(i), inner);
    if (!value)
      return badInput(kFunction, "function '" + replaceInvalidUtf8(function.name()) + "' does not define its output '" +
                                     replaceInvalidUtf8(function.output(i)) + "'", path_);
    scope.values[call.output(i)] = *value;
  }
  return {};
}

} // namespace llmopt::onnx
