//===- Utf8.h - Unicode text as bytes ---------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_UTF8_H
#define LLMOPT_LIB_SUPPORT_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmopt {

/// One scalar value at the front of a text, or the longest prefix that could have become one.
struct Utf8Char {
  uint32_t codepoint = 0xFFFD; ///< U+FFFD when not valid
  uint32_t length = 1;         ///< bytes; of an invalid sequence, its maximal subpart (Unicode 3.9, as Python and Rust)
  bool valid = false;
  bool truncated = false; ///< not valid, but more bytes after the end of the text could make it so
};

/// `text` must not be empty. Surrogates, overlong forms and values over U+10FFFF are invalid.
Utf8Char decodeUtf8(std::string_view text);
/// Offset of the first byte that is not part of a valid character; text.size() when all is well.
size_t findInvalidUtf8(std::string_view text);
inline bool isUtf8(std::string_view text) { return findInvalidUtf8(text) == text.size(); }
void appendUtf8(std::string &out, uint32_t codepoint);
/// Each invalid maximal subpart becomes one U+FFFD.
std::string replaceInvalidUtf8(std::string_view text);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_UTF8_H
