//===- GraphOrder.cpp - names and order of a graph's nodes ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GraphOrder.h"

#include "ModelFile.h"
#include "llmopt/lib/Support/Utf8.h"

#include <functional>
#include <queue>

namespace llmopt::onnx {

std::string operatorName(const NodeProto &node) {
  llvm::StringRef domain = normalDomain(node.domain());
  return replaceInvalidUtf8((domain.empty() ? "" : domain.str() + ".") + node.op_type());
}

std::string describeNode(const NodeProto &node, int index) {
  std::string text = "node #" + std::to_string(index);
  if (!node.name().empty())
    text += " '" + replaceInvalidUtf8(node.name().substr(0, 200)) + "'";
  return text + " (" + operatorName(node) + ")";
}

namespace {

std::string quoted(llvm::StringRef name) { return "'" + replaceInvalidUtf8(name.take_front(200).str()) + "'"; }

void collectFreeNames(const GraphProto &graph, llvm::function_ref<void(llvm::StringRef)> use) {
  llvm::StringSet<> own;
  for (const auto &input : graph.input())
    own.insert(input.name());
  for (const auto &tensor : graph.initializer())
    own.insert(tensor.name());
  for (const auto &tensor : graph.sparse_initializer())
    own.insert(tensor.values().name());
  for (const auto &node : graph.node())
    own.insert_range(node.output());
  auto free = [&](llvm::StringRef name) {
    if (!name.empty() && !own.contains(name))
      use(name);
  };
  for (const auto &node : graph.node())
    forEachUse(node, free);
  for (const auto &output : graph.output())
    free(output.name());
}

} // namespace

void forEachUse(const NodeProto &node, llvm::function_ref<void(llvm::StringRef)> use) {
  for (const auto &name : node.input())
    if (!name.empty())
      use(name);
  for (const auto &attribute : node.attribute()) {
    if (attribute.has_g())
      collectFreeNames(attribute.g(), use);
    for (const auto &graph : attribute.graphs())
      collectFreeNames(graph, use);
  }
}

namespace {

bool isConstant(const NodeProto &node) { return node.op_type() == "Constant" && node.attribute_size() == 1; }

/// Some exporters repeat a constant under its name.
bool isSameConstant(const NodeProto &a, const NodeProto &b) {
  return isConstant(a) && isConstant(b) && a.attribute(0).SerializeAsString() == b.attribute(0).SerializeAsString();
}

class Order {
public:
  Order(const NodeList &nodes, const std::string &context) : nodes_(nodes), context_(context), needs_(nodes.size()) {}

  Status defineNames(const llvm::StringSet<> &given) {
    for (int i = 0; i < nodes_.size(); ++i)
      for (const auto &name : nodes_[i].output()) {
        if (name.empty())
          continue;
        if (name.size() > kMaxNameLength)
          return badInput(kGraph, "a name has " + std::to_string(name.size()) + " bytes; at most " + std::to_string(kMaxNameLength),
                          context_);
        if (given.contains(name))
          return badInput(kGraph, "value " + quoted(name) + " is an input or initializer and is defined again by " +
                                      describeNode(nodes_[i], i), context_);
        auto [it, isNew] = producers_.try_emplace(name, i);
        if (isNew || isSameConstant(nodes_[it->second], nodes_[i]))
          continue;
        std::string again = "value " + quoted(name) + " is defined by " + describeNode(nodes_[it->second], it->second) + " and again by " +
                            describeNode(nodes_[i], i);
        if (!isConstant(nodes_[it->second]) || !isConstant(nodes_[i]))
          return badInput(kGraph, again, context_);
        it->second = i;
        if (warning_.empty())
          warning_ = again + ": the last constant under a name holds";
      }
    return {};
  }

  std::string takeWarning() { return std::move(warning_); }

  Status resolveUses(const llvm::StringSet<> &given, llvm::function_ref<bool(llvm::StringRef)> outer) {
    for (int i = 0; i < nodes_.size(); ++i) {
      Status status;
      forEachUse(nodes_[i], [&](llvm::StringRef name) {
        auto producer = producers_.find(name);
        if (producer != producers_.end()) {
          needs_[i].push_back(producer->second);
          sorted_ &= producer->second < i;
        } else if (status.ok() && !given.contains(name) && !outer(name)) {
          status = badInput(kGraph, describeNode(nodes_[i], i) + " uses value " + quoted(name) + ", which nothing defines", context_);
        }
      });
      LLMOPT_RETURN_IF_ERROR(status);
    }
    return {};
  }

  Result<std::vector<int>> order() {
    std::vector<int> result;
    result.reserve(nodes_.size());
    if (sorted_) {
      for (int i = 0; i < nodes_.size(); ++i)
        result.push_back(i);
      return result;
    }
    std::vector<int> waiting(nodes_.size());
    std::vector<std::vector<int>> users(nodes_.size());
    std::priority_queue<int, std::vector<int>, std::greater<int>> ready; // keeps close to the file's order
    for (int i = 0; i < nodes_.size(); ++i) {
      waiting[i] = int(needs_[i].size());
      for (int need : needs_[i])
        users[need].push_back(i);
      if (waiting[i] == 0)
        ready.push(i);
    }
    while (!ready.empty()) {
      int node = ready.top();
      ready.pop();
      result.push_back(node);
      for (int user : users[node])
        if (--waiting[user] == 0)
          ready.push(user);
    }
    if (int(result.size()) == nodes_.size())
      return result;
    return cycle(waiting);
  }

private:
  Status cycle(const std::vector<int> &waiting) {
    // From a node that never became ready, go to something it waits for until a node comes twice.
    int node = 0;
    while (waiting[node] == 0)
      ++node;
    std::vector<bool> seen(nodes_.size());
    int next = node;
    while (!seen[next]) {
      seen[next] = true;
      node = next;
      for (int need : needs_[node])
        if (waiting[need] != 0)
          next = need;
    }
    return badInput(kGraph, "the graph has a cycle through " + describeNode(nodes_[node], node) + " and " + describeNode(nodes_[next], next) +
                                ", which defines " + quoted(nodes_[next].output_size() ? nodes_[next].output(0) : ""), context_);
  }

  const NodeList &nodes_;
  const std::string &context_;
  llvm::StringMap<int> producers_;
  std::string warning_;
  std::vector<std::vector<int>> needs_;
  bool sorted_ = true;
};

} // namespace

Result<std::vector<int>> orderNodes(const NodeList &nodes, const llvm::StringSet<> &given,
                                    llvm::function_ref<bool(llvm::StringRef)> outer, const std::string &context, std::string &warning) {
  Order order(nodes, context);
  LLMOPT_RETURN_IF_ERROR(order.defineNames(given));
  warning = order.takeWarning();
  LLMOPT_RETURN_IF_ERROR(order.resolveUses(given, outer));
  return order.order();
}

} // namespace llmopt::onnx
