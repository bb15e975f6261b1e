//===- TokenizerMatcher.h - finding the places to split ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The split expressions of almost all models are alternatives of runs of characters. They come as small programs,
// which a loop of this room executes with its own sets; other expressions go to PCRE2. Both count their steps.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERMATCHER_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERMATCHER_H

#include "TokenizerCharSet.h"
#include "llmopt/lib/Support/Status.h"

#include <memory>
#include <string_view>
#include <vector>

namespace llmopt::text {

struct Found {
  size_t begin, end;
};
/// A stretch of the text that was found, or one between two such.
struct Stretch {
  size_t begin, end;
  bool found;
};

class Matcher {
public:
  /// `sets` outlive the matcher. E1401 when PCRE2 refuses the expression.
  static Result<std::unique_ptr<Matcher>> create(const tokenizer::Matcher &description,
                                                 const std::vector<CharSet> &sets);
  virtual ~Matcher() = default;

  /// All places in order. An empty one right behind the place before does not count, as in Rust and in Python.
  /// E1411 when the search gave up at some place; `found` holds what lies before it.
  virtual Status findAll(std::string_view text, std::vector<Found> &found) const;

  /// The whole text as stretches; an empty text is one empty stretch.
  Status cut(std::string_view text, std::vector<Stretch> &stretches) const;

protected:
  enum class Search { Found, None, GaveUp };
  /// The first place that begins at `from` or behind it. `text` is valid UTF-8 and `from` begins a character.
  virtual Search next(std::string_view text, size_t from, Found &place) const = 0;
};

Result<std::unique_ptr<Matcher>> createRegexMatcher(const std::string &expression);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERMATCHER_H
