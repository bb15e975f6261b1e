//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Import.h"

#include <algorithm>
#include <unordered_set>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::Model;
using tokenizer::ModelKind;

PieceIds frontend::pieceIds(const Model &model) {
  PieceIds ids;
  ids.reserve(model.size());
  for (size_t id = 0; id < model.size(); ++id)
    ids[model.piece(id)] = int32_t(id);
  return ids;
}

static Status checkPiece(std::string_view piece, const TokenizerFile &file) {
  if (piece.size() > tokenizer::kMaxPieceBytes)
    return badInput("E1303",
                    "model.vocab: a piece has " + std::to_string(piece.size()) + " bytes; the limit is " +
                        std::to_string(tokenizer::kMaxPieceBytes),
                    file.path);
  return {};
}

/// The pieces in the order of their ids, which have to be 0, 1, 2 and so on.
static Status addPiecesById(const TokenizerFile &file, Model &model) {
  constexpr uint32_t kNone = UINT32_MAX;
  auto clash = [&](std::string what) { return badInput("E1301", "model.vocab: " + std::move(what), file.path); };
  size_t count = file.ids.size();
  std::vector<uint32_t> at(count, kNone);
  for (size_t i = 0; i < count; ++i) {
    LLMOPT_RETURN_IF_ERROR(checkPiece(file.pieces[i], file));
    if (size_t(file.ids[i]) >= count)
      return clash("ids have gaps: there are " + std::to_string(count) + " pieces, and '" +
                   std::string(file.pieces[i]) + "' has the id " + std::to_string(file.ids[i]));
    uint32_t &slot = at[size_t(file.ids[i])];
    if (slot != kNone)
      return clash("id " + std::to_string(file.ids[i]) + " belongs to both '" + std::string(file.pieces[slot]) +
                   "' and '" + std::string(file.pieces[i]) + "'");
    slot = uint32_t(i);
  }
  model.blob.reserve(file.pieces.blob.size());
  for (uint32_t i : at)
    model.addPiece(file.pieces[i]);
  if (pieceIds(model).size() != count) { // rare, so looked for only now
    PieceIds seen;
    for (size_t id = 0; id < count; ++id)
      if (!seen.emplace(model.piece(id), int32_t(id)).second)
        return badInput("E0112", "duplicate key '" + std::string(model.piece(id)) + "' in model.vocab", file.path);
  }
  return {};
}

static Status addScoredPieces(const TokenizerFile &file, Model &model) {
  if (file.pieces.size() > tokenizer::kMaxPieces)
    return badInput("E1303",
                    "model.vocab has " + std::to_string(file.pieces.size()) + " pieces; the limit is " +
                        std::to_string(tokenizer::kMaxPieces),
                    file.path);
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    LLMOPT_RETURN_IF_ERROR(checkPiece(file.pieces[i], file));
    model.addPiece(file.pieces[i]);
  }
  model.scores = file.scores;
  return {};
}

/// One merge, with the ids of its pieces.
static Result<tokenizer::Merge> mergeAt(size_t i, const TokenizerFile &file, const PieceIds &ids, const Model &model,
                                        std::string &both) {
  std::string_view left = file.merges[2 * i], right = file.merges[2 * i + 1];
  auto wrong = [&](std::string what) {
    return badInput("E1301", "model.merges[" + std::to_string(i) + "]: " + std::move(what), file.path);
  };
  if (right.size() < model.continuingPrefix.size())
    return wrong("'" + std::string(right) + "' is shorter than continuing_subword_prefix");
  both.assign(left).append(right.substr(model.continuingPrefix.size()));
  tokenizer::Merge merge{};
  std::pair<std::string_view, int32_t *> parts[] = {{left, &merge.left}, {right, &merge.right}, {both, &merge.result}};
  for (auto [piece, id] : parts) {
    auto it = ids.find(piece);
    if (it == ids.end())
      return wrong("'" + std::string(piece) + "' is not in the vocabulary");
    *id = it->second;
  }
  return merge;
}

/// Of merges of the same pair the last counts. So they are read backwards, and those before it are left out: files may
/// repeat a pair without end, but there are no more pairs than ways to cut a piece in two.
static Status addMerges(const TokenizerFile &file, Model &model) {
  PieceIds ids = pieceIds(model);
  std::unordered_set<uint64_t> seen;
  std::string both;
  for (size_t i = file.merges.size() / 2; i-- > 0;) {
    LLMOPT_ASSIGN(tokenizer::Merge merge, mergeAt(i, file, ids, model, both));
    if (seen.insert(uint64_t(uint32_t(merge.left)) << 32 | uint32_t(merge.right)).second)
      model.merges.push_back(merge);
  }
  std::reverse(model.merges.begin(), model.merges.end());
  return {};
}

static Status importBpe(const Component &component, const TokenizerFile &file, Model &model) {
  model.kind = ModelKind::Bpe;
  LLMOPT_ASSIGN(model.continuingPrefix, component.string("continuing_subword_prefix", ""));
  LLMOPT_ASSIGN(model.endSuffix, component.string("end_of_word_suffix", ""));
  LLMOPT_ASSIGN(model.fuseUnk, component.boolean("fuse_unk", false));
  LLMOPT_ASSIGN(model.byteFallback, component.boolean("byte_fallback", false));
  LLMOPT_ASSIGN(model.ignoreMerges, component.boolean("ignore_merges", false));
  LLMOPT_ASSIGN(std::string unknown, component.string("unk_token", ""));
  if (!file.hasMerges || file.ids.size() != file.pieces.size())
    return component.wrong("", "a BPE model has a vocabulary of pieces to ids, and merges");
  LLMOPT_RETURN_IF_ERROR(addPiecesById(file, model));
  LLMOPT_RETURN_IF_ERROR(addMerges(file, model));
  // `dropout` is for training.
  for (size_t id = 0; id < model.size() && !unknown.empty(); ++id)
    if (model.piece(id) == unknown)
      model.unkId = int32_t(id);
  return {};
}

static Status importWordPiece(const Component &component, const TokenizerFile &file, Model &model, ModelKind kind) {
  model.kind = kind;
  LLMOPT_ASSIGN(std::string unknown, component.string("unk_token"));
  if (kind == ModelKind::WordPiece) {
    LLMOPT_ASSIGN(model.continuingPrefix, component.string("continuing_subword_prefix"));
    LLMOPT_ASSIGN(int64_t most, component.integer("max_input_chars_per_word", 0, INT64_MAX));
    model.maxWordChars = uint32_t(std::min<int64_t>(most, UINT32_MAX));
  }
  if (file.ids.size() != file.pieces.size())
    return component.wrong("vocab", "expected a map of pieces to ids");
  LLMOPT_RETURN_IF_ERROR(addPiecesById(file, model));
  PieceIds ids = pieceIds(model);
  auto it = ids.find(unknown);
  if (it == ids.end())
    return component.wrong("unk_token", "'" + unknown + "' is not in the vocabulary");
  model.unkId = it->second;
  return {};
}

static Status importUnigram(const Component &component, const TokenizerFile &file, Model &model) {
  model.kind = ModelKind::Unigram;
  if (file.scores.size() != file.pieces.size() || file.pieces.size() == 0)
    return component.wrong("vocab", "expected a list of [\"piece\", score]");
  LLMOPT_ASSIGN(model.byteFallback, component.boolean("byte_fallback", false));
  LLMOPT_ASSIGN(int64_t unknown, component.integer("unk_id", 0, int64_t(file.pieces.size()) - 1, -1));
  model.unkId = int32_t(unknown);
  return addScoredPieces(file, model);
}

/// Early files do not say the type.
static std::string guessType(const Component &component, const TokenizerFile &file) {
  if (file.hasMerges)
    return "BPE";
  if (component.find("continuing_subword_prefix"))
    return "WordPiece";
  return file.scores.empty() ? "WordLevel" : "Unigram";
}

Status frontend::importModel(const Component &component, const TokenizerFile &file, Model &model) {
  if (!component.json || !component.json->isObject() || !file.hasVocab)
    return component.wrong("", "expected a model with a vocabulary");
  LLMOPT_ASSIGN(std::string type, component.string("type", guessType(component, file)));
  if (type == "BPE")
    return importBpe(component, file, model);
  if (type == "WordPiece")
    return importWordPiece(component, file, model, ModelKind::WordPiece);
  if (type == "WordLevel")
    return importWordPiece(component, file, model, ModelKind::WordLevel);
  if (type == "Unigram")
    return importUnigram(component, file, model);
  return component.missing("type");
}
