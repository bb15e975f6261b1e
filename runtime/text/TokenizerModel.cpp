//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerModel.h"

#include "TokenizerUtf8.h"
#include "llmopt/lib/Support/Hash.h"

#include <algorithm>
#include <bit>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::ModelKind;

void PieceTable::reserve(size_t count) { slots_.assign(std::bit_ceil(count * 2 + 2), -1); }

void PieceTable::insert(int32_t id) {
  std::string_view piece = model_->piece(size_t(id));
  longest_ = std::max(longest_, piece.size());
  size_t mask = slots_.size() - 1;
  size_t slot = hashString(piece) & mask;
  while (slots_[slot] >= 0 && model_->piece(size_t(slots_[slot])) != piece)
    slot = (slot + 1) & mask;
  slots_[slot] = id;
}

int32_t PieceTable::find(std::string_view piece) const {
  if (piece.size() > longest_)
    return -1;
  size_t mask = slots_.size() - 1;
  size_t slot = hashString(piece) & mask;
  while (slots_[slot] >= 0 && model_->piece(size_t(slots_[slot])) != piece)
    slot = (slot + 1) & mask;
  return slots_[slot];
}

ByteTokens::ByteTokens(const PieceTable &table) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < ids.size(); ++byte)
    ids[byte] = table.find(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + '>');
}

std::unique_ptr<WordModel> WordModel::create(const tokenizer::Model &model, const PieceTable &table) {
  switch (model.kind) {
  case ModelKind::Bpe:
    return createBpe(model, table);
  case ModelKind::WordPiece:
  case ModelKind::WordLevel:
    return createWordPiece(model, table);
  case ModelKind::Unigram:
    return createUnigram(model, table);
  case ModelKind::PieceUnigram:
    return createPieceUnigram(model, table);
  case ModelKind::PieceBpe:
  case ModelKind::PieceWord:
  case ModelKind::PieceChar:
    break;
  }
  return createPieceModel(model, table);
}

namespace {

/// The longest piece that fits, again and again; a word in which none fits somewhere is unknown as a whole.
class WordPieceModel final : public WordModel {
public:
  WordPieceModel(const tokenizer::Model &model) : model_(model), first_(keys(false)), later_(keys(true)) {}

  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    size_t before = ids.size();
    bool known = countChars(word) <= model_.maxWordChars;
    for (size_t at = 0; known && at < word.size();) {
      auto [length, id] = (at == 0 ? first_ : later_).longest(word.substr(at));
      known = id >= 0;
      ids.push_back(id);
      at += length;
    }
    if (known)
      return;
    ids.resize(before);
    if (model_.unkId >= 0)
      ids.push_back(model_.unkId);
  }

private:
  Trie keys(bool later) const {
    std::string_view prefix = later ? std::string_view(model_.continuingPrefix) : std::string_view();
    std::vector<std::pair<std::string_view, int32_t>> keys;
    for (size_t id = 0; id < model_.size(); ++id)
      if (model_.piece(id).starts_with(prefix))
        keys.emplace_back(model_.piece(id).substr(prefix.size()), int32_t(id));
    return Trie(std::move(keys));
  }
  const tokenizer::Model &model_;
  Trie first_, later_;
};

class WordLevelModel final : public WordModel {
public:
  WordLevelModel(const tokenizer::Model &model, const PieceTable &table) : unkId_(model.unkId), table_(table) {}
  void encode(std::string_view word, std::vector<int32_t> &ids) const override {
    int32_t id = table_.find(word);
    id = id >= 0 ? id : unkId_;
    if (id >= 0)
      ids.push_back(id);
  }

private:
  int32_t unkId_;
  const PieceTable &table_;
};

} // namespace

std::unique_ptr<WordModel> text::createWordPiece(const tokenizer::Model &model, const PieceTable &table) {
  if (model.kind == ModelKind::WordLevel)
    return std::make_unique<WordLevelModel>(model, table);
  return std::make_unique<WordPieceModel>(model);
}
