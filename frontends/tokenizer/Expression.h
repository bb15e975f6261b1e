//===- Expression.h - split expressions of tokenizers ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tokenizers are written for Oniguruma. An expression is read into a tree in which every class of characters is a set,
// with the members it has there. Trees that are alternatives of runs become programs of TokenizerData; the rest is
// written out again for PCRE2, with the classes spelled out, since PCRE2's own \s, \w and \p differ.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_EXPRESSION_H
#define LLMOPT_FRONTENDS_TOKENIZER_EXPRESSION_H

#include "UnicodeClasses.h"
#include "llmopt/lib/Support/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace llmopt::frontend {

struct ExpressionNode {
  enum Kind {
    Set,
    Sequence,     ///< children one after the other
    Alternatives, ///< the first child that fits
    Repeat,       ///< min to max times the child
    Look,         ///< the child fits here (`behind`: ends here), or `negative`: does not
    Atomic,
    Capture,
    BackReference, ///< `number`
    Anchor,        ///< `anchor`
  };
  enum Greed { Greedy, Lazy, Possessive };
  Kind kind = Sequence;
  CharRanges set;
  std::vector<ExpressionNode> children;
  uint32_t min = 0, max = 0, number = 0;
  Greed greed = Greedy;
  bool behind = false, negative = false;
  char anchor = 0; ///< ^ $ A z Z G b B as in the expression
};

/// E1301: malformed; E1302: a construct without support. The messages say where in the expression.
Result<ExpressionNode> parseExpression(std::string_view expression);

/// The expression for TokenizerData; sets are added to `sets` unless an equal one is there. E1302 as above, and for
/// what PCRE2 does not take.
Result<tokenizer::Matcher> compileExpression(std::string_view expression, std::vector<CharRanges> &sets);

/// A set in `sets`, added unless an equal one is there.
uint32_t internSet(const CharRanges &set, std::vector<CharRanges> &sets);

/// The tree as a program; false if it is more than alternatives of runs.
bool lowerToProgram(const ExpressionNode &node, std::vector<CharRanges> &sets,
                    std::vector<tokenizer::ProgramStep> &program);
std::string writeForPcre(const ExpressionNode &node);

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_EXPRESSION_H
