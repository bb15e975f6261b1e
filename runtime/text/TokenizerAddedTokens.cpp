//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerAddedTokens.h"

#include "TokenizerUtf8.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::AddedToken;

AddedTokens::AddedTokens(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets,
                         const Normalizer &normalizer)
    : tokens_(data.added), wordSet_(sets[data.wordSet]), spaceSet_(sets[data.spaceSet]) {
  std::vector<std::pair<std::string_view, int32_t>> raw, normalized;
  for (const AddedToken &token : tokens_) {
    Text text{token.content, charLength(token.content[0])};
    if (token.normalized)
      (void)normalizer.apply(text);
    spellings_.push_back(std::move(text.bytes));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken &token = tokens_[i];
    (token.normalized ? normalized : raw).emplace_back(spellings_[i], int32_t(i));
    byId_[token.id] = i;
    byContent_[token.content] = token.id;
    if (token.special)
      specials_.insert(token.content);
    largestId_ = std::max(largestId_, token.id);
  }
  raw_ = Trie(std::move(raw));
  normalized_ = Trie(std::move(normalized));
}

const AddedToken *AddedTokens::find(int32_t id) const {
  auto it = byId_.find(id);
  return it == byId_.end() ? nullptr : &tokens_[it->second];
}

int32_t AddedTokens::find(std::string_view content) const {
  auto it = byContent_.find(content);
  return it == byContent_.end() ? -1 : it->second;
}

std::string_view AddedTokens::spelling(int32_t id) const {
  auto it = byId_.find(id);
  return it == byId_.end() ? std::string_view() : spellings_[it->second];
}

bool AddedTokens::standsAlone(std::string_view text, size_t begin, size_t end) const {
  if (begin > 0) {
    size_t before = previousChar(text, begin);
    if (wordSet_.contains(nextChar(text, before)))
      return false;
  }
  return end == text.size() || !wordSet_.contains(nextChar(text, end));
}

size_t AddedTokens::leftOfSpaces(std::string_view text, size_t at) const {
  while (at > 0) {
    size_t before = previousChar(text, at), after = before;
    if (!spaceSet_.contains(nextChar(text, after)))
      break;
    at = before;
  }
  return at;
}

size_t AddedTokens::rightOfSpaces(std::string_view text, size_t at) const {
  for (size_t after = at; at < text.size(); at = after)
    if (!spaceSet_.contains(nextChar(text, after)))
      break;
  return at;
}

std::vector<AddedTokens::Cut> AddedTokens::cut(std::string_view text, bool normalized, bool literal) const {
  const Trie &trie = normalized ? normalized_ : raw_;
  std::vector<Cut> cuts;
  size_t done = 0;
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    auto [length, index] = trie.longest(text.substr(at));
    if (index < 0) {
      at += charLength(text[at]);
      continue;
    }
    size_t begin = at, end = at + length;
    at = end;
    const AddedToken &token = tokens_[size_t(index)];
    if ((literal && token.special) || (token.singleWord && !standsAlone(text, begin, end)))
      continue;
    if (token.leftStrip)
      begin = std::max(leftOfSpaces(text, begin), done);
    if (token.rightStrip)
      end = rightOfSpaces(text, end);
    if (done < begin)
      cuts.push_back({done, begin, -1});
    cuts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size())
    cuts.push_back({done, text.size(), -1});
  return cuts;
}
