//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerTrie.h"

#include <algorithm>
#include <deque>

using namespace llmopt::text;

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> keys) : nodes_(1) {
  std::erase_if(keys, [](const auto &key) { return key.first.empty(); });
  std::sort(keys.begin(), keys.end());
  // Breadth first, so that the children of a node lie together.
  struct Task {
    uint32_t node;
    size_t begin, end, depth; ///< the keys that pass through the node, and their common length
  };
  std::deque<Task> tasks{{0, 0, keys.size(), 0}};
  for (; !tasks.empty(); tasks.pop_front()) {
    Task task = tasks.front();
    for (; task.begin < task.end && keys[task.begin].first.size() == task.depth; ++task.begin)
      nodes_[task.node].value = keys[task.begin].second;
    nodes_[task.node].children = uint32_t(nodes_.size());
    for (size_t from = task.begin; from < task.end;) {
      uint8_t label = uint8_t(keys[from].first[task.depth]);
      size_t to = from;
      while (to < task.end && uint8_t(keys[to].first[task.depth]) == label)
        ++to;
      tasks.push_back({uint32_t(nodes_.size()), from, to, task.depth + 1});
      nodes_.push_back({});
      nodes_.back().label = label;
      ++nodes_[task.node].count;
      from = to;
    }
  }
  for (uint32_t i = 0; i < nodes_[0].count; ++i)
    root_[nodes_[nodes_[0].children + i].label] = nodes_[0].children + i;
}
