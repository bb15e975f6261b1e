//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "HeaderText.h"

#include "llmopt/lib/Support/Utf8.h"

#include <charconv>

using namespace llmopt;
using namespace llmopt::hf;

// The length field has eight bytes; positions in messages count from the start of the file.
static constexpr size_t kLengthBytes = 8;

Status HeaderText::error(const std::string &problem) const {
  return badInput("E0401", "invalid header at byte " + std::to_string(kLengthBytes + at_) + ": " + problem, context_);
}

void HeaderText::skipSpace() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
    ++at_;
}

Status HeaderText::expect(char wanted) {
  skipSpace();
  if (at_ == text_.size() || text_[at_] != wanted)
    return error(std::string("expected '") + wanted + "'");
  ++at_;
  return {};
}

Status HeaderText::end() {
  while (at_ < text_.size() && text_[at_] == ' ')
    ++at_;
  return at_ == text_.size() ? Status() : error("only spaces may follow the header's object");
}

Status HeaderText::list(char open, char close, const std::function<Status()> &element) {
  LLMOPT_RETURN_IF_ERROR(expect(open));
  skipSpace();
  if (at_ < text_.size() && text_[at_] == close) {
    ++at_;
    return {};
  }
  while (true) {
    LLMOPT_RETURN_IF_ERROR(element());
    skipSpace();
    if (at_ < text_.size() && text_[at_] == close) {
      ++at_;
      return {};
    }
    LLMOPT_RETURN_IF_ERROR(expect(','));
  }
}

Status HeaderText::object(const std::function<Status(std::string key)> &member) {
  return list('{', '}', [&]() -> Status {
    LLMOPT_ASSIGN(std::string key, string());
    LLMOPT_RETURN_IF_ERROR(expect(':'));
    return member(std::move(key));
  });
}

Status HeaderText::array(const std::function<Status()> &element) { return list('[', ']', element); }

Result<int64_t> HeaderText::integer() {
  skipSpace();
  if (at_ < text_.size() && text_[at_] == '-')
    return error("negative number");
  int64_t value = 0;
  const char *begin = text_.data() + at_, *stop = text_.data() + text_.size();
  auto [after, problem] = std::from_chars(begin, stop, value);
  if (problem == std::errc::result_out_of_range)
    return error("number of 2^63 or more");
  bool leadingZero = after - begin > 1 && *begin == '0';
  bool fraction = after != stop && std::string_view(".eE").find(*after) != std::string_view::npos;
  if (problem != std::errc() || leadingZero || fraction)
    return error("expected an integer");
  at_ += size_t(after - begin);
  return value;
}

Result<uint32_t> HeaderText::hexDigits() {
  uint32_t value = 0;
  std::string_view digits = text_.substr(at_, 4);
  auto [after, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (problem != std::errc() || after != digits.data() + 4 || digits.size() != 4)
    return error("'\\u' needs four hexadecimal digits");
  at_ += 4;
  return value;
}

/// What stands after a backslash, as a code point.
Result<uint32_t> HeaderText::escape() {
  static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  if (at_ == text_.size())
    return error("text ends inside a string");
  char letter = text_[at_++];
  if (size_t index = kLetters.find(letter); index != kLetters.npos)
    return uint32_t(kMeanings[index]);
  if (letter != 'u')
    return error("unknown escape in a string");
  LLMOPT_ASSIGN(uint32_t high, hexDigits());
  if (high < 0xD800 || high > 0xDFFF)
    return high;
  if (high > 0xDBFF || text_.substr(at_, 2) != "\\u")
    return error("half of a surrogate pair");
  at_ += 2;
  LLMOPT_ASSIGN(uint32_t low, hexDigits());
  if (low < 0xDC00 || low > 0xDFFF)
    return error("half of a surrogate pair");
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

Result<std::string> HeaderText::string() {
  LLMOPT_RETURN_IF_ERROR(expect('"'));
  std::string value;
  while (at_ < text_.size() && text_[at_] != '"') {
    char character = text_[at_++];
    if (uint8_t(character) < 0x20)
      return error("control character in a string");
    if (character != '\\') {
      value += character;
      continue;
    }
    LLMOPT_ASSIGN(uint32_t codepoint, escape());
    appendUtf8(value, codepoint);
  }
  LLMOPT_RETURN_IF_ERROR(at_ < text_.size() ? Status() : error("text ends inside a string"));
  ++at_;
  return value;
}
