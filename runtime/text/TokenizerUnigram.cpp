//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Unigram: of all ways to write a word in pieces, the one with the greatest sum of scores (Viterbi). `tokenizers`
// computes in double and SentencePiece in float, which decides between paths that are nearly equal.

#include "TokenizerModel.h"
#include "TokenizerUtf8.h"

#include <algorithm>
#include <limits>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::ModelKind;
using tokenizer::PieceType;

namespace {

constexpr double kUnknownPenalty = 10;

template <typename Score> struct Node {
  Score score = 0;
  int32_t id = -1;
  int64_t begin = -1; ///< of the piece that ends here on the best path; -1: no path yet
};

/// The best path through `text`, as its pieces from the last to the first: visit(begin, end, id).
template <typename Score, typename ScoreOf, typename Visit>
void bestPath(std::string_view text, const Trie &trie, Score unknownScore, int32_t unknownId, ScoreOf scoreOf,
              Visit visit) {
  std::vector<Node<Score>> best(text.size() + 1);
  auto offer = [&](size_t begin, size_t end, int32_t id, auto score) {
    Node<Score> &node = best[end];
    if (node.begin < 0 || score > node.score)
      node = {Score(score), id, int64_t(begin)};
  };
  for (size_t begin = 0; begin < text.size();) {
    size_t one = std::min(charLength(text[begin]), text.size() - begin);
    Score before = best[begin].score;
    bool hasOne = false;
    trie.prefixes(text.substr(begin), [&](size_t length, int32_t id) {
      offer(begin, begin + length, id, scoreOf(id, length) + before);
      hasOne = hasOne || length == one;
    });
    if (!hasOne)
      offer(begin, begin + one, unknownId, unknownScore + before);
    begin += one;
  }
  for (size_t end = text.size(); end > 0; end = size_t(best[end].begin))
    visit(size_t(best[end].begin), end, best[end].id);
}

class UnigramModel final : public WordModel {
public:
  UnigramModel(const tokenizer::Model &model, const PieceTable &table)
      : model_(model), table_(table), bytes_(table), trie_(keys(model)) {
    double least = std::numeric_limits<double>::infinity();
    for (double score : model.scores)
      least = std::min(least, score);
    unknownScore_ = least - kUnknownPenalty;
  }

  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    struct Part {
      size_t begin, end;
      bool unknown;
    };
    std::vector<Part> parts; // backwards; neighbours that are unknown become one
    auto scoreOf = [&](int32_t id, size_t) { return model_.scores[size_t(id)]; };
    bestPath<double>(word, trie_, unknownScore_, model_.unkId, scoreOf, [&](size_t begin, size_t end, int32_t id) {
      bool unknown = id == model_.unkId;
      if (unknown && !parts.empty() && parts.back().unknown)
        parts.back().begin = begin;
      else
        parts.push_back({begin, end, unknown});
    });
    for (size_t i = parts.size(); i-- > 0;)
      add(word.substr(parts[i].begin, parts[i].end - parts[i].begin), ids);
  }

private:
  static Trie keys(const tokenizer::Model &model) {
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (size_t id = 0; id < model.size(); ++id)
      keys.emplace_back(model.piece(id), int32_t(id));
    return Trie(std::move(keys));
  }

  void add(std::string_view part, std::vector<int32_t> &ids) const {
    if (int32_t id = table_.find(part); id >= 0) {
      ids.push_back(id);
      return;
    }
    auto hasByte = [&](char byte) { return bytes_.ids[uint8_t(byte)] >= 0; };
    if (model_.byteFallback && std::all_of(part.begin(), part.end(), hasByte)) {
      for (char byte : part)
        ids.push_back(bytes_.ids[uint8_t(byte)]);
    } else if (model_.unkId >= 0) {
      ids.push_back(model_.unkId);
    }
  }

  const tokenizer::Model &model_;
  const PieceTable &table_;
  ByteTokens bytes_;
  Trie trie_;
  double unknownScore_;
};

class PieceUnigramModel final : public WordModel {
public:
  PieceUnigramModel(const tokenizer::Model &model, const PieceTable &table)
      : model_(model), bytes_(table), trie_(keys(model)) {
    float least = std::numeric_limits<float>::max();
    for (size_t id = 0; id < model.size(); ++id)
      if (typeOf(int32_t(id)) == PieceType::Normal) {
        least = std::min(least, float(model.scores[id]));
        greatest_ = std::max(greatest_, float(model.scores[id]));
      }
    unknownScore_ = least - float(kUnknownPenalty);
  }

  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    struct Part {
      size_t begin, end;
      int32_t id;
    };
    std::vector<Part> parts;
    // User-defined symbols win over everything else. Sums are compared in double and kept in float, as in SentencePiece
    // 0.1; version 0.2 compares in float, and so may choose another of two ways that are equally good.
    auto scoreOf = [&](int32_t id, size_t length) -> double {
      if (typeOf(id) == PieceType::UserDefined)
        return double(float(length) * greatest_) - 0.1;
      return model_.scores[size_t(id)];
    };
    bestPath<float>(word, trie_, unknownScore_, model_.unkId, scoreOf, [&](size_t begin, size_t end, int32_t id) {
      parts.push_back({begin, end, id});
    });
    bool afterUnknown = false;
    for (size_t i = parts.size(); i-- > 0;) {
      bool unknown = parts[i].id == model_.unkId;
      if (unknown && model_.byteFallback)
        for (char byte : word.substr(parts[i].begin, parts[i].end - parts[i].begin))
          ids.push_back(bytes_.ids[uint8_t(byte)]);
      else if (!unknown || !afterUnknown)
        ids.push_back(parts[i].id);
      afterUnknown = unknown;
    }
  }

private:
  PieceType typeOf(int32_t id) const { return PieceType(model_.types[size_t(id)]); }
  static Trie keys(const tokenizer::Model &model) {
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (size_t id = 0; id < model.size(); ++id)
      if (PieceType type = PieceType(model.types[id]); type == PieceType::Normal || type == PieceType::UserDefined)
        keys.emplace_back(model.piece(id), int32_t(id));
    return Trie(std::move(keys));
  }

  const tokenizer::Model &model_;
  ByteTokens bytes_;
  Trie trie_;
  float greatest_ = std::numeric_limits<float>::lowest(), unknownScore_;
};

} // namespace

std::unique_ptr<WordModel> text::createUnigram(const tokenizer::Model &model, const PieceTable &table) {
  return std::make_unique<UnigramModel>(model, table);
}
std::unique_ptr<WordModel> text::createPieceUnigram(const tokenizer::Model &model, const PieceTable &table) {
  return std::make_unique<PieceUnigramModel>(model, table);
}
