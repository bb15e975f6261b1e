//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Byte pair encoding: the pair of neighbours with the lowest rank is joined first, the leftmost of equals. A queue of
// pairs and a doubly linked list of symbols make that n log n for a word of n characters.

#include "TokenizerModel.h"
#include "TokenizerUtf8.h"

#include <algorithm>
#include <bit>
#include <functional>

using namespace llmopt;
using namespace llmopt::text;

namespace {

struct Rule {
  uint32_t rank;
  int32_t result;
};

/// Pairs of ids to rules, by open addressing.
class MergeTable {
public:
  explicit MergeTable(const std::vector<tokenizer::Merge> &merges)
      : merges_(merges), slots_(std::bit_ceil(merges.size() * 2 + 2)), shift_(64 - std::countr_zero(slots_.size())) {
    for (size_t i = 0; i < merges.size(); ++i) {
      Slot &slot = slots_[place(key(merges[i].left, merges[i].right))];
      slot = {key(merges[i].left, merges[i].right), {uint32_t(i), merges[i].result}};
    }
  }
  int32_t resultOf(uint32_t rank) const { return merges_[rank].result; }
  const Rule *find(int32_t left, int32_t right) const {
    const Slot &slot = slots_[place(key(left, right))];
    return slot.key == kFree ? nullptr : &slot.rule;
  }

private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key = kFree;
    Rule rule{};
  };
  static uint64_t key(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }
  size_t place(uint64_t key) const {
    size_t at = size_t((key * 0x9E3779B97F4A7C15u) >> shift_);
    while (slots_[at].key != key && slots_[at].key != kFree)
      at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  const std::vector<tokenizer::Merge> &merges_;
  std::vector<Slot> slots_;
  int shift_;
};

struct Symbol {
  int32_t id;
  int32_t before, after; ///< -1 at the ends
  bool gone = false;
};

/// A pair that could be joined, as its rank above its place: the smallest goes first. It may have been overtaken since.
using Candidate = uint64_t;
Candidate candidate(const Rule &rule, int32_t at) { return uint64_t(rule.rank) << 32 | uint32_t(at); }

class Word {
public:
  Word(const MergeTable &merges, size_t capacity) : merges_(merges) { symbols_.reserve(capacity); }

  void add(int32_t id) {
    int32_t at = int32_t(symbols_.size());
    if (at > 0)
      symbols_.back().after = at;
    symbols_.push_back({id, at - 1, -1});
  }

  void join(std::vector<int32_t> &ids) {
    for (int32_t at = 0; at + 1 < int32_t(symbols_.size()); ++at)
      if (const Rule *rule = merges_.find(symbols_[size_t(at)].id, symbols_[size_t(at) + 1].id))
        queue_.push_back(candidate(*rule, at));
    std::make_heap(queue_.begin(), queue_.end(), std::greater<>());
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
      Candidate best = queue_.back();
      queue_.pop_back();
      apply(best);
    }
    for (const Symbol &symbol : symbols_)
      if (!symbol.gone)
        ids.push_back(symbol.id);
  }

private:
  void apply(Candidate best) {
    uint32_t at = uint32_t(best);
    Symbol &left = symbols_[at];
    if (left.gone || left.after < 0)
      return;
    Symbol &right = symbols_[size_t(left.after)];
    const Rule *rule = merges_.find(left.id, right.id);
    if (!rule || rule->result != merges_.resultOf(uint32_t(best >> 32)))
      return;
    left.id = rule->result;
    left.after = right.after;
    right.gone = true;
    if (left.after >= 0)
      symbols_[size_t(left.after)].before = int32_t(at);
    offer(left.before);
    offer(int32_t(at));
  }

  void offer(int32_t at) {
    if (at < 0 || symbols_[size_t(at)].after < 0)
      return;
    const Symbol &left = symbols_[size_t(at)];
    if (const Rule *rule = merges_.find(left.id, symbols_[size_t(left.after)].id)) {
      queue_.push_back(candidate(*rule, at));
      std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
    }
  }

  const MergeTable &merges_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> queue_;
};

class BpeModel final : public WordModel {
public:
  BpeModel(const tokenizer::Model &model, const PieceTable &table)
      : model_(model), table_(table), merges_(model.merges), bytes_(table) {
    for (uint32_t c = 1; c < direct_.size(); ++c) {
      std::string text;
      if (c < 0x80)
        text = char(c);
      else
        text = {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
      direct_[c] = table.find(text);
    }
  }

  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    if (model_.ignoreMerges)
      if (int32_t id = table_.find(word); id >= 0) {
        ids.push_back(id);
        return;
      }
    Word symbols(merges_, std::min<size_t>(word.size(), size_t(1) << 20));
    addCharacters(word, symbols);
    symbols.join(ids);
  }

private:
  /// The id of a character in its place; prefix and suffix mark where in the word it stands.
  int32_t idOf(std::string_view word, size_t begin, size_t end, std::string &spelled) const {
    spelled = word.substr(begin, end - begin);
    if (begin > 0)
      spelled.insert(0, model_.continuingPrefix);
    if (end == word.size())
      spelled += model_.endSuffix;
    return table_.find(spelled);
  }

  void addCharacters(std::string_view word, Word &symbols) const {
    bool plain = model_.continuingPrefix.empty() && model_.endSuffix.empty();
    std::string spelled;
    bool unknown = false; // an unknown symbol that is not added yet: more may be fused into it
    for (size_t at = 0; at < word.size();) {
      size_t begin = at;
      uint32_t c = nextChar(word, at);
      bool quick = plain && c != 0 && c < direct_.size();
      int32_t id = quick ? direct_[c] : idOf(word, begin, at, spelled);
      if (id >= 0) {
        if (unknown)
          symbols.add(model_.unkId);
        unknown = false;
        symbols.add(id);
        continue;
      }
      if (quick)
        spelled = word.substr(begin, at - begin);
      if (model_.byteFallback && addBytes(spelled, symbols))
        continue;
      if (model_.unkId < 0)
        continue;
      if (unknown && !model_.fuseUnk)
        symbols.add(model_.unkId);
      unknown = true;
    }
    if (unknown)
      symbols.add(model_.unkId);
  }

  bool addBytes(std::string_view spelled, Word &symbols) const {
    for (char byte : spelled)
      if (bytes_.ids[uint8_t(byte)] < 0)
        return false;
    for (char byte : spelled)
      symbols.add(bytes_.ids[uint8_t(byte)]);
    return true;
  }

  const tokenizer::Model &model_;
  const PieceTable &table_;
  MergeTable merges_;
  ByteTokens bytes_;
  std::array<int32_t, 0x800> direct_{}; ///< ids of the characters of one and two bytes
};

} // namespace

std::unique_ptr<WordModel> text::createBpe(const tokenizer::Model &model, const PieceTable &table) {
  return std::make_unique<BpeModel>(model, table);
}
