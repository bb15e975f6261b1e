//===- TokenizerUtf8.h - walking through valid UTF-8 ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For text that has been checked: nothing here looks at whether it is UTF-8.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERUTF8_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERUTF8_H

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmopt::text {

inline size_t charLength(char lead) {
  uint8_t byte = uint8_t(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The character at `at`, which moves behind it.
inline uint32_t nextChar(std::string_view text, size_t &at) {
  auto byte = [&](size_t i) { return uint32_t(uint8_t(text[at + i])); };
  uint32_t c = byte(0);
  size_t length = charLength(text[at]);
  if (length == 2)
    c = (c & 0x1F) << 6 | (byte(1) & 0x3F);
  else if (length == 3)
    c = (c & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  else if (length == 4)
    c = (c & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  at += length;
  return c;
}

/// Where the character before `at` begins.
inline size_t previousChar(std::string_view text, size_t at) {
  do
    --at;
  while ((uint8_t(text[at]) & 0xC0) == 0x80);
  return at;
}

inline size_t countChars(std::string_view text) {
  size_t count = 0;
  for (char c : text)
    count += (uint8_t(c) & 0xC0) != 0x80;
  return count;
}

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERUTF8_H
