//===- TokenizerTrie.h - finding pieces of a vocabulary in a text *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERTRIE_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERTRIE_H

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace llmopt::text {

/// All keys that begin at a place of a text, shortest first, without looking at more of it than the longest key.
class Trie {
public:
  /// Values are not negative. Of equal keys the one with the greatest value counts; empty keys do not.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> keys = {});

  /// Calls visit(length, value) for each key that text begins with.
  template <typename Visit> void prefixes(std::string_view text, Visit visit) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = i == 0 ? root_[uint8_t(text[0])] : child(node, uint8_t(text[i]));
      if (node == 0)
        return;
      if (nodes_[node].value >= 0)
        visit(i + 1, nodes_[node].value);
    }
  }
  /// Length and value of the longest key that text begins with; {0, -1} without one.
  std::pair<size_t, int32_t> longest(std::string_view text) const {
    std::pair<size_t, int32_t> best{0, -1};
    prefixes(text, [&](size_t length, int32_t value) { best = {length, value}; });
    return best;
  }
  bool empty() const { return nodes_.size() <= 1; }

private:
  struct Node {
    uint32_t children = 0; ///< the first; they lie together, ordered by label
    int32_t value = -1;
    uint16_t count = 0;
    uint8_t label = 0;
  };
  /// 0 when there is none: the root is nobody's child.
  uint32_t child(uint32_t node, uint8_t label) const {
    uint32_t low = nodes_[node].children, high = low + nodes_[node].count;
    while (low < high) {
      uint32_t middle = (low + high) / 2;
      if (nodes_[middle].label < label)
        low = middle + 1;
      else
        high = middle;
    }
    bool found = low < nodes_[node].children + nodes_[node].count && nodes_[low].label == label;
    return found ? low : 0;
  }

  std::vector<Node> nodes_;
  std::array<uint32_t, 256> root_{};
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERTRIE_H
