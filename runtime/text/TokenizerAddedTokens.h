//===- TokenizerAddedTokens.h - tokens that are cut out of the text first *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERADDEDTOKENS_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERADDEDTOKENS_H

#include "TokenizerCharSet.h"
#include "TokenizerNormalizer.h"
#include "TokenizerTrie.h"

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace llmopt::text {

/// Of tokens that begin at one place the longest is taken; the leftmost place goes first.
class AddedTokens {
public:
  /// `data` and `sets` outlive it.
  AddedTokens(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets, const Normalizer &normalizer);

  struct Cut {
    size_t begin, end;
    int32_t token; ///< id, or -1 for text between tokens
  };
  /// Tokens that are looked for in the text as it is, or (`normalized`) in the normalized text. With `literal`,
  /// special tokens are not tokens.
  std::vector<Cut> cut(std::string_view text, bool normalized, bool literal) const;

  const tokenizer::AddedToken *find(int32_t id) const;
  /// -1 without one.
  int32_t find(std::string_view content) const;
  /// How the token is written for the decoder: normalized tokens in their normalized form.
  std::string_view spelling(int32_t id) const;
  /// Whether this text is the content of a special token.
  bool isSpecialText(std::string_view text) const { return specials_.contains(text); }
  int32_t largestId() const { return largestId_; }

private:
  bool standsAlone(std::string_view text, size_t begin, size_t end) const;
  size_t leftOfSpaces(std::string_view text, size_t at) const;
  size_t rightOfSpaces(std::string_view text, size_t at) const;

  const std::vector<tokenizer::AddedToken> &tokens_;
  std::vector<std::string> spellings_;
  Trie raw_, normalized_; ///< values are indices of tokens_
  std::unordered_map<int32_t, size_t> byId_;
  std::unordered_map<std::string_view, int32_t> byContent_;
  std::unordered_set<std::string_view> specials_;
  const CharSet &wordSet_, &spaceSet_;
  int32_t largestId_ = -1;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERADDEDTOKENS_H
