//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Utf8.h"

#include <cstring>

using namespace llmopt;

namespace {
struct Lead {
  uint32_t length, bits;
  uint8_t low, high; ///< range of the second byte: excludes overlong forms, surrogates and values over U+10FFFF
};

Lead classify(uint8_t byte) {
  if (byte < 0xC2 || byte > 0xF4)
    return {0, 0, 0, 0};
  if (byte < 0xE0)
    return {2, byte & 0x1Fu, 0x80, 0xBF};
  if (byte < 0xF0)
    return {3, byte & 0x0Fu, uint8_t(byte == 0xE0 ? 0xA0 : 0x80), uint8_t(byte == 0xED ? 0x9F : 0xBF)};
  return {4, byte & 0x07u, uint8_t(byte == 0xF0 ? 0x90 : 0x80), uint8_t(byte == 0xF4 ? 0x8F : 0xBF)};
}
} // namespace

Utf8Char llmopt::decodeUtf8(std::string_view text) {
  uint8_t first = uint8_t(text[0]);
  if (first < 0x80)
    return {first, 1, true, false};
  Lead lead = classify(first);
  if (lead.length == 0)
    return {};
  uint32_t codepoint = lead.bits;
  for (uint32_t i = 1; i < lead.length; ++i) {
    if (i == text.size())
      return {0xFFFD, i, false, true};
    uint8_t byte = uint8_t(text[i]);
    if (byte < (i == 1 ? lead.low : 0x80) || byte > (i == 1 ? lead.high : 0xBF))
      return {0xFFFD, i, false, false};
    codepoint = codepoint << 6 | (byte & 0x3Fu);
  }
  return {codepoint, lead.length, true, false};
}

size_t llmopt::findInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t word;
    if (at + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if ((word & 0x8080808080808080u) == 0) {
        at += sizeof word;
        continue;
      }
    }
    Utf8Char c = decodeUtf8(text.substr(at));
    if (!c.valid)
      return at;
    at += c.length;
  }
  return at;
}

void llmopt::appendUtf8(std::string &out, uint32_t c) {
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
  } else if (c < 0x10000) {
    out += {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
  } else {
    out += {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 0x3F)), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
  }
}

std::string llmopt::replaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t good = findInvalidUtf8(text);
    out += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty())
      break;
    out += "\xEF\xBF\xBD";
    text.remove_prefix(decodeUtf8(text).length);
  }
  return out;
}
