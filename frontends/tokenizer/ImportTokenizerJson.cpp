//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"
#include "Import.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::AddedToken;
using tokenizer::TokenizerData;

int32_t frontend::nextFreeId(const TokenizerData &data) {
  int32_t next = int32_t(data.model.size());
  for (const AddedToken &token : data.added)
    next = std::max(next, token.id + 1);
  return next;
}

static Result<AddedToken> importToken(const Component &component) {
  AddedToken token;
  LLMOPT_ASSIGN(token.content, component.string("content"));
  LLMOPT_ASSIGN(token.special, component.boolean("special", false));
  LLMOPT_ASSIGN(token.normalized, component.boolean("normalized", !token.special));
  LLMOPT_ASSIGN(token.singleWord, component.boolean("single_word", false));
  LLMOPT_ASSIGN(token.leftStrip, component.boolean("lstrip", false));
  LLMOPT_ASSIGN(token.rightStrip, component.boolean("rstrip", false));
  LLMOPT_ASSIGN(int64_t id, component.integer("id", 0, int64_t(tokenizer::kMaxPieces) - 1));
  token.id = int32_t(id);
  if (token.content.empty())
    return component.wrong("content", "an added token cannot be empty");
  if (token.content.size() > tokenizer::kMaxAddedTokenBytes)
    return badInput("E1303",
                    component.path + ".content has " + std::to_string(token.content.size()) + " bytes; the limit is " +
                        std::to_string(tokenizer::kMaxAddedTokenBytes),
                    component.file);
  return token;
}

Status frontend::importAddedTokens(const Component &root, TokenizerData &data) {
  if (!root.find("added_tokens"))
    return {};
  LLMOPT_ASSIGN(std::vector<Component> list, root.list("added_tokens"));
  PieceIds ids = pieceIds(data.model);
  std::unordered_map<std::string, size_t> known;
  int32_t next = int32_t(data.model.size());
  for (const Component &component : list) {
    LLMOPT_ASSIGN(AddedToken token, importToken(component));
    // The library gives ids itself: that of the piece, else the next free one.
    auto piece = ids.find(token.content);
    auto before = known.find(token.content);
    if (piece == ids.end() && before == known.end() && token.id != next)
      return component.wrong("id", "'" + token.content + "' has the id " + std::to_string(token.id) +
                                       ", the next free one is " + std::to_string(next));
    token.id = piece != ids.end() ? piece->second : before != known.end() ? data.added[before->second].id : next++;
    if (token.singleWord && data.wordSet == data.spaceSet)
      data.wordSet = internSet(wordChars(), data.sets);
    if (before != known.end()) {
      data.added[before->second] = std::move(token);
      continue;
    }
    known[token.content] = data.added.size();
    data.added.push_back(std::move(token));
  }
  return {};
}

Result<TokenizerData> frontend::importTokenizerJson(const std::string &path) {
  LLMOPT_ASSIGN(TokenizerFile file, readTokenizerFile(path));
  Component root{&file.root, "", path};
  LLMOPT_ASSIGN(std::string version, root.string("version", "1.0"));
  if (version != "1.0")
    return root.missing("version");
  TokenizerData data;
  addCommonSets(data);
  LLMOPT_RETURN_IF_ERROR(importModel(root.at("model"), file, data.model));
  if (Component part = root.at("normalizer"); part.json)
    LLMOPT_RETURN_IF_ERROR(importNormalizer(part, data));
  if (Component part = root.at("pre_tokenizer"); part.json)
    LLMOPT_RETURN_IF_ERROR(importPreTokenizer(part, data));
  if (Component part = root.at("post_processor"); part.json)
    LLMOPT_RETURN_IF_ERROR(importPostProcessor(part, data));
  if (Component part = root.at("decoder"); part.json) {
    LLMOPT_RETURN_IF_ERROR(importDecoder(part, data));
  } else {
    data.decode.emplace_back();
    data.decode.back().op = tokenizer::DecodeStep::JoinSpaces;
  }
  LLMOPT_RETURN_IF_ERROR(importAddedTokens(root, data));
  data.unkId = data.model.unkId;
  return data;
}
