//===- TokenizerPreTokenizer.h - text to words ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERPRETOKENIZER_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERPRETOKENIZER_H

#include "TokenizerCharSet.h"
#include "TokenizerMatcher.h"
#include "TokenizerPieces.h"

#include <memory>
#include <vector>

namespace llmopt::text {

class PreTokenizer {
public:
  /// `sets` outlive it.
  static Result<PreTokenizer> create(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets);
  /// Cuts the words that are not final yet. E1411: an expression gave up, what follows stayed one word.
  Status apply(Pieces &pieces) const;

private:
  struct Step {
    tokenizer::PreTokenizeStep description;
    std::unique_ptr<Matcher> matcher;
  };
  static Status split(const Step &step, Pieces &pieces);
  static void cutScripts(const Step &step, Pieces &pieces);
  static void cutLengths(size_t length, Pieces &pieces);

  std::vector<Step> steps_;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERPRETOKENIZER_H
