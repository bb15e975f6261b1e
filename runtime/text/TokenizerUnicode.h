//===- TokenizerUnicode.h - Unicode normalization forms -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERUNICODE_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERUNICODE_H

#include "TokenizerCharSet.h"
#include "TokenizerPieces.h"

namespace llmopt::text {

struct UnicodeForm {
  bool compatibility = false; ///< NFK*
  bool compose = false;       ///< NF*C
};

/// Brings `text` into a normalization form. Characters of `inert` are left as they are and combine with nothing: those
/// that are younger than the tables of the library whose results count.
Text normalizeUnicode(const Text &text, UnicodeForm form, const CharSet &inert);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERUNICODE_H
