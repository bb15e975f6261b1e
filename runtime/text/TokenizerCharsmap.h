//===- TokenizerCharsmap.h - SentencePiece's compiled normalization *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A double-array trie of byte strings (Darts) whose values are offsets into a pool of NUL-terminated replacements:
// 32-bit size of the trie in bytes, its units, the pool.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSMAP_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSMAP_H

#include "TokenizerPieces.h"
#include "TokenizerTrie.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/TokenizerData.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::text {

class Charsmap {
public:
  /// An empty blob is a map of nothing. E1401.
  static Result<Charsmap> parse(std::string_view blob);

  struct Rule {
    size_t length = 0; ///< bytes of text it takes
    std::string_view replacement;
  };
  std::optional<Rule> shortest(std::string_view text) const { return find(text, 1); }
  std::optional<Rule> longest(std::string_view text) const { return find(text, 32); }

  /// As the `tokenizers` library applies it: whole grapheme clusters of up to five bytes are asked for first, and the
  /// shortest rule that fits their front replaces all of them.
  Text applyToClusters(const Text &text) const;

private:
  std::optional<Rule> find(std::string_view text, int most) const;

  std::vector<uint32_t> units_;
  std::string pool_;
};

/// SentencePiece's own normalization: longest rule first, white space by `rules`, user-defined symbols untouched.
/// `atStart`: whether a dummy prefix is due where it is only for the begin of the input.
std::string normalizeForPieces(std::string_view text, const Charsmap &map, const tokenizer::SpaceRules &rules,
                               const Trie &userDefined, bool atStart);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSMAP_H
