//===- TokenizerNormalizer.h - text before it is cut into words *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERNORMALIZER_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERNORMALIZER_H

#include "TokenizerCharSet.h"
#include "TokenizerCharsmap.h"
#include "TokenizerMatcher.h"
#include "TokenizerPieces.h"

#include <memory>
#include <vector>

namespace llmopt::text {

/// Characters by strings, for lower case and the like.
class CharMap {
public:
  explicit CharMap(std::vector<tokenizer::CharMapping> mappings);
  /// Null when the character stays.
  const std::string *find(uint32_t c) const;

private:
  CharSet keys_;
  std::vector<tokenizer::CharMapping> mappings_;
};

class Normalizer {
public:
  /// `sets` and `userDefined` outlive it.
  static Result<Normalizer> create(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets,
                                   const Trie &userDefined);
  /// E1411 from Replace; `text` is then only normalized as far as the search came.
  Status apply(Text &text) const;

private:
  struct Step {
    tokenizer::NormalizeStep::Op op;
    const CharSet *set;
    bool flag, flag2;
    std::string text;
    CharMap map;
    Charsmap charsmap;
    std::unique_ptr<Matcher> matcher;
  };
  Status apply(const Step &step, Text &text) const;
  static Text removeSet(const Text &text, const CharSet &set);
  static Text mapChars(const Text &text, const CharMap &map);
  static Text surround(const Text &text, const CharSet &set);
  static Text strip(const Text &text, const Step &step);
  static Text toBytes(const Text &text);
  static Status replace(const Step &step, Text &text);

  std::vector<Step> steps_;
  tokenizer::SpaceRules spaces_;
  const Trie *userDefined_ = nullptr;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERNORMALIZER_H
