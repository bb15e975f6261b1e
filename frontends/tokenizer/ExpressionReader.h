//===- ExpressionReader.h - parser of split expressions -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_EXPRESSIONREADER_H
#define LLMOPT_FRONTENDS_TOKENIZER_EXPRESSIONREADER_H

#include "Expression.h"

#include <optional>

namespace llmopt::frontend {

/// Oniguruma's default syntax, as far as tokenizers have been seen to use it, and some more.
class ExpressionReader {
public:
  explicit ExpressionReader(std::string_view text) : text_(text) {}
  Result<ExpressionNode> read();

private:
  Status malformed(std::string what) const;
  Status missing(std::string what) const;
  bool atEnd() const { return at_ >= text_.size(); }
  char peek() const { return atEnd() ? '\0' : text_[at_]; }
  bool accept(std::string_view token);
  uint32_t nextChar();
  Result<uint32_t> hexDigits(size_t least, size_t most);

  // ExpressionClasses.cpp
  Result<std::optional<CharRanges>> escapedSet();
  Result<std::optional<CharRanges>> hexSet(char kind);
  Result<std::optional<CharRanges>> property(bool negative);
  Result<CharRanges> charClass(int depth);
  Result<CharRanges> classPart(int depth);
  Result<CharRanges> classChar();

  // Expression.cpp
  Result<ExpressionNode> alternatives(int depth);
  Result<ExpressionNode> sequence(int depth);
  Result<ExpressionNode> repeated(ExpressionNode atom);
  bool counts(uint32_t &min, uint32_t &max);
  Result<ExpressionNode> atom(int depth);
  Result<ExpressionNode> escape();
  Result<ExpressionNode> group(int depth);
  Result<ExpressionNode> options(int depth);
  void skipComment();
  ExpressionNode setNode(CharRanges set) const;

  std::string_view text_;
  size_t at_ = 0;
  bool ignoreCase_ = false, dotAll_ = false, extended_ = false;
  uint32_t captures_ = 0;
};

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_EXPRESSIONREADER_H
