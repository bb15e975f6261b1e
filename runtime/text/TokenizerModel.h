//===- TokenizerModel.h - one word to ids ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERMODEL_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERMODEL_H

#include "TokenizerTrie.h"
#include "llmopt/lib/Support/TokenizerData.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace llmopt::text {

/// Piece to id, by hashing.
class PieceTable {
public:
  /// Pieces that `model` has and `takes` accepts; `model` outlives the table.
  template <typename Takes> PieceTable(const tokenizer::Model &model, Takes takes) : model_(&model) {
    reserve(model.size());
    for (size_t id = 0; id < model.size(); ++id)
      if (!model.piece(id).empty() && takes(id))
        insert(int32_t(id));
  }
  explicit PieceTable(const tokenizer::Model &model) : PieceTable(model, [](size_t) { return true; }) {}

  /// -1 without one.
  int32_t find(std::string_view piece) const;
  size_t longest() const { return longest_; }

private:
  void reserve(size_t count);
  void insert(int32_t id);
  const tokenizer::Model *model_;
  std::vector<int32_t> slots_; ///< a power of two, at most half full; -1 is free
  size_t longest_ = 0;
};

/// The ids of the pieces "<0x00>" to "<0xFF>"; all is false when one is missing.
struct ByteTokens {
  explicit ByteTokens(const PieceTable &table);
  std::array<int32_t, 256> ids;
};

class WordModel {
public:
  /// `model` outlives the result.
  static std::unique_ptr<WordModel> create(const tokenizer::Model &model, const PieceTable &table);
  virtual ~WordModel() = default;
  /// Appends the ids of a word (valid UTF-8, not empty).
  virtual void encode(std::string_view word, std::vector<int32_t> &ids) const = 0;
};

std::unique_ptr<WordModel> createBpe(const tokenizer::Model &model, const PieceTable &table);
std::unique_ptr<WordModel> createWordPiece(const tokenizer::Model &model, const PieceTable &table);
std::unique_ptr<WordModel> createUnigram(const tokenizer::Model &model, const PieceTable &table);
/// The four of SentencePiece.
std::unique_ptr<WordModel> createPieceModel(const tokenizer::Model &model, const PieceTable &table);
std::unique_ptr<WordModel> createPieceUnigram(const tokenizer::Model &model, const PieceTable &table);
/// The user-defined symbols of a SentencePiece model: always one piece, never normalized.
Trie userDefinedSymbols(const tokenizer::Model &model);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERMODEL_H
