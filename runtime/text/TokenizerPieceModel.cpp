//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// SentencePiece's BPE, word and character models. Its BPE has no merge rules: two neighbours may be joined when the
// two together are a piece, and the piece with the greatest score goes first.

#include "TokenizerModel.h"
#include "TokenizerUtf8.h"

#include <algorithm>
#include <unordered_map>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::ModelKind;
using tokenizer::PieceType;

Trie text::userDefinedSymbols(const tokenizer::Model &model) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t id = 0; id < model.types.size(); ++id)
    if (PieceType(model.types[id]) == PieceType::UserDefined)
      keys.emplace_back(model.piece(id), int32_t(id));
  return Trie(std::move(keys));
}

namespace {

bool isNormal(uint8_t type) {
  return PieceType(type) == PieceType::Normal || PieceType(type) == PieceType::UserDefined ||
         PieceType(type) == PieceType::Unused;
}

struct Symbol {
  std::string_view text; ///< empty once it was joined to the one before
  int32_t before, after;
  bool frozen;
};

struct Candidate {
  float score;
  int32_t left, right;
  size_t length; ///< of both together when it was offered
};
bool isLater(const Candidate &a, const Candidate &b) {
  return a.score != b.score ? a.score < b.score : a.left > b.left;
}

class PieceModel final : public WordModel {
public:
  PieceModel(const tokenizer::Model &model, const PieceTable &all)
      : model_(model), normal_(model, [&](size_t id) { return isNormal(model.types[id]); }),
        reserved_(model, [&](size_t id) { return !isNormal(model.types[id]); }), bytes_(all),
        userDefined_(userDefinedSymbols(model)) {}

  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    bool afterUnknown = false;
    auto add = [&](std::string_view piece) {
      int32_t id = idOf(piece);
      bool unknown = id == model_.unkId;
      if (unknown && model_.byteFallback)
        for (char byte : piece)
          ids.push_back(bytes_.ids[uint8_t(byte)]);
      else if (!unknown || !afterUnknown)
        ids.push_back(id);
      afterUnknown = unknown;
    };
    if (model_.kind == ModelKind::PieceWord)
      return cutWords(word, add);
    std::vector<Symbol> symbols = characters(word);
    if (model_.kind == ModelKind::PieceBpe)
      return join(symbols, add);
    for (const Symbol &symbol : symbols)
      add(symbol.text);
  }

private:
  /// What an unused piece was made of, to take it apart again.
  using Parts = std::unordered_map<std::string_view, std::pair<std::string_view, std::string_view>>;

  int32_t idOf(std::string_view piece) const {
    if (int32_t id = reserved_.find(piece); id >= 0)
      return id;
    int32_t id = normal_.find(piece);
    return id >= 0 ? id : model_.unkId;
  }

  std::vector<Symbol> characters(std::string_view text) const {
    std::vector<Symbol> symbols;
    while (!text.empty()) {
      size_t length = userDefined_.longest(text).first;
      bool frozen = length > 0;
      if (!frozen)
        length = std::min(charLength(text[0]), text.size());
      int32_t at = int32_t(symbols.size());
      text = (symbols.push_back({text.substr(0, length), at - 1, at + 1, frozen}), text.substr(length));
    }
    if (!symbols.empty())
      symbols.back().after = -1;
    return symbols;
  }

  /// A word is what begins with the space symbol.
  template <typename Add> static void cutWords(std::string_view text, Add add) {
    constexpr std::string_view kSpace = "\xE2\x96\x81";
    while (!text.empty()) {
      size_t end = std::min(text.find(kSpace, 1), text.size());
      add(text.substr(0, end));
      text.remove_prefix(end);
    }
  }

  void offer(const std::vector<Symbol> &symbols, int32_t left, int32_t right, std::vector<Candidate> &queue,
             Parts &parts) const {
    if (left < 0 || right < 0 || symbols[size_t(left)].frozen || symbols[size_t(right)].frozen)
      return;
    std::string_view a = symbols[size_t(left)].text, b = symbols[size_t(right)].text;
    std::string_view both(a.data(), a.size() + b.size()); // neighbours lie one behind the other
    int32_t id = normal_.find(both);
    if (id < 0)
      return;
    queue.push_back({float(model_.scores[size_t(id)]), left, right, both.size()});
    std::push_heap(queue.begin(), queue.end(), isLater);
    if (PieceType(model_.types[size_t(id)]) == PieceType::Unused)
      parts[both] = {a, b};
  }

  template <typename Add> void join(std::vector<Symbol> &symbols, Add add) const {
    std::vector<Candidate> queue;
    Parts parts;
    for (int32_t i = 1; i < int32_t(symbols.size()); ++i)
      offer(symbols, i - 1, i, queue, parts);
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), isLater);
      Candidate best = queue.back();
      queue.pop_back();
      Symbol &left = symbols[size_t(best.left)], &right = symbols[size_t(best.right)];
      if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != best.length)
        continue;
      left.text = std::string_view(left.text.data(), best.length);
      left.after = right.after;
      if (right.after >= 0)
        symbols[size_t(right.after)].before = best.left;
      right.text = {};
      offer(symbols, left.before, best.left, queue, parts);
      offer(symbols, best.left, left.after, queue, parts);
    }
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[size_t(i)].after)
      takeApart(symbols[size_t(i)].text, parts, add);
  }

  template <typename Add> void takeApart(std::string_view text, const Parts &parts, Add add) const {
    std::vector<std::string_view> stack{text};
    while (!stack.empty()) {
      std::string_view piece = stack.back();
      stack.pop_back();
      int32_t id = idOf(piece);
      auto it = PieceType(model_.types[size_t(id)]) == PieceType::Unused ? parts.find(piece) : parts.end();
      if (it == parts.end()) {
        add(piece);
        continue;
      }
      stack.push_back(it->second.second);
      stack.push_back(it->second.first);
    }
  }

  const tokenizer::Model &model_;
  PieceTable normal_, reserved_;
  ByteTokens bytes_;
  Trie userDefined_;
};

} // namespace

std::unique_ptr<WordModel> text::createPieceModel(const tokenizer::Model &model, const PieceTable &table) {
  return std::make_unique<PieceModel>(model, table);
}
