//===- UnicodeClasses.h - classes of characters as ranges -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_UNICODECLASSES_H
#define LLMOPT_FRONTENDS_TOKENIZER_UNICODECLASSES_H

#include "llmopt/lib/Support/TokenizerData.h"

#include <optional>
#include <string_view>
#include <vector>

namespace llmopt::frontend {

using tokenizer::CharRange;
using tokenizer::CharRanges;

/// Sorted and joined; what goes in may be in any order.
CharRanges makeRanges(std::vector<CharRange> ranges);
CharRanges unite(const CharRanges &a, const CharRanges &b);
CharRanges intersect(const CharRanges &a, const CharRanges &b);
CharRanges complement(const CharRanges &set);
bool contains(const CharRanges &set, uint32_t c);

CharRanges whiteSpace();
/// \w of split expressions, and of the library's own (added tokens, the Whitespace pre-tokenizer).
CharRanges expressionWordChars();
CharRanges wordChars();
CharRanges numericChars();
CharRanges punctuationChars();
/// What BertNormalizer's clean_text removes.
CharRanges controlChars();
CharRanges chineseChars();
CharRanges nonspacingMarks();
CharRanges combiningMarks();
/// Characters whose normal forms the `tokenizers` library does not know.
CharRanges inertChars();

/// \p{name}: general categories short and long, scripts, and the POSIX names. Nothing for names not known here.
std::optional<CharRanges> propertyChars(std::string_view name);
/// [:name:], which is not always the same as \p{name}.
std::optional<CharRanges> posixClass(std::string_view name);

/// All characters that differ from a member of the set only in case.
CharRanges caseClosure(const CharRanges &set);
std::vector<tokenizer::CharMapping> lowercaseMap();
std::vector<tokenizer::ScriptRange> scriptTable();

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_UNICODECLASSES_H
