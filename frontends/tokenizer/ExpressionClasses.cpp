//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ExpressionReader.h"

#include "llmopt/lib/Support/Utf8.h"

using namespace llmopt;
using namespace llmopt::frontend;

Status ExpressionReader::malformed(std::string what) const {
  return badInput("E1301", "split expression: " + std::move(what) + " at byte " + std::to_string(at_));
}

Status ExpressionReader::missing(std::string what) const {
  return unsupported("E1302",
                     "split expression: " + std::move(what) + " at byte " + std::to_string(at_) + " is not supported");
}

bool ExpressionReader::accept(std::string_view token) {
  if (!text_.substr(at_).starts_with(token))
    return false;
  at_ += token.size();
  return true;
}

uint32_t ExpressionReader::nextChar() {
  Utf8Char c = decodeUtf8(text_.substr(at_));
  at_ += c.length;
  return c.codepoint;
}

Result<uint32_t> ExpressionReader::hexDigits(size_t least, size_t most) {
  uint32_t value = 0;
  size_t count = 0;
  for (; count < most && !atEnd(); ++count, ++at_) {
    char c = peek();
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0)
      break;
    value = value << 4 | uint32_t(digit);
  }
  if (count < least || value > 0x10FFFF)
    return malformed("bad hexadecimal character");
  return value;
}

/// Behind a backslash: classes and single characters. Nothing for what is no character.
Result<std::optional<CharRanges>> ExpressionReader::escapedSet() {
  char c = peek();
  ++at_;
  auto negatedIf = [](bool negate, CharRanges set) { return std::optional(negate ? complement(set) : std::move(set)); };
  switch (c) {
  case 's':
  case 'S':
    return negatedIf(c == 'S', whiteSpace());
  case 'd':
  case 'D':
    return negatedIf(c == 'D', *propertyChars("nd"));
  case 'w':
  case 'W':
    return negatedIf(c == 'W', expressionWordChars());
  case 'h':
  case 'H':
    return negatedIf(c == 'H', *propertyChars("xdigit"));
  case 'p':
  case 'P':
    return property(c == 'P');
  case 'x':
  case 'u':
    return hexSet(c);
  default:
    break;
  }
  constexpr std::string_view kNames = "ntrfvae", kValues = "\n\t\r\f\v\a\x1B";
  if (size_t index = kNames.find(c); index != kNames.npos) {
    uint32_t value = uint8_t(kValues[index]);
    return std::optional(CharRanges{{value, value}});
  }
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
    --at_;
    return std::optional<CharRanges>();
  }
  --at_;
  uint32_t literal = nextChar();
  return std::optional(CharRanges{{literal, literal}});
}

Result<std::optional<CharRanges>> ExpressionReader::hexSet(char kind) {
  bool braced = kind == 'x' && accept("{");
  LLMOPT_ASSIGN(uint32_t value, hexDigits(kind == 'u' ? 4 : 1, kind == 'u' ? 4 : braced ? 8 : 2));
  if (braced && !accept("}"))
    return malformed("'}' expected");
  return std::optional(CharRanges{{value, value}});
}

Result<std::optional<CharRanges>> ExpressionReader::property(bool negative) {
  if (!accept("{"))
    return missing("\\p without braces");
  if (accept("^"))
    negative = !negative;
  size_t end = text_.find('}', at_);
  if (end == text_.npos)
    return malformed("'}' expected");
  std::string name(text_.substr(at_, end - at_));
  std::optional<CharRanges> set = propertyChars(name);
  if (!set)
    return missing("property '" + name + "'");
  at_ = end + 1;
  return std::optional(negative ? complement(*set) : *set);
}

/// Behind '[': up to and with the closing ']'.
Result<CharRanges> ExpressionReader::charClass(int depth) {
  if (depth > 16)
    return malformed("classes nested too deeply");
  bool negative = accept("^");
  std::optional<CharRanges> left; // of &&
  CharRanges set;
  for (bool first = true;; first = false) {
    if (atEnd())
      return malformed("']' expected");
    if (!first && accept("]"))
      break;
    if (accept("&&")) {
      left = left ? intersect(*left, set) : set;
      set = {};
      continue;
    }
    LLMOPT_ASSIGN(CharRanges part, classPart(depth));
    set = unite(set, part);
  }
  if (left)
    set = intersect(*left, set);
  if (ignoreCase_)
    set = caseClosure(set);
  return negative ? complement(set) : set;
}

/// A character, a range, or a class inside a class.
Result<CharRanges> ExpressionReader::classPart(int depth) {
  if (text_.substr(at_).starts_with("[:")) {
    size_t end = text_.find(":]", at_ + 2);
    if (end != text_.npos) {
      std::string_view name = text_.substr(at_ + 2, end - at_ - 2);
      bool negative = name.starts_with('^');
      std::optional<CharRanges> set = posixClass(name.substr(negative));
      if (!set)
        return missing("class [:" + std::string(name) + ":]");
      at_ = end + 2;
      return negative ? complement(*set) : *set;
    }
  }
  if (accept("["))
    return charClass(depth + 1);
  LLMOPT_ASSIGN(CharRanges low, classChar());
  bool single = low.size() == 1 && low[0].first == low[0].last;
  std::string_view rest = text_.substr(at_);
  if (!single || !rest.starts_with('-') || rest.substr(1).starts_with(']') || rest.size() < 2)
    return low;
  size_t before = at_++;
  LLMOPT_ASSIGN(CharRanges high, classChar());
  if (high.size() != 1 || high[0].first != high[0].last) { // "a-\s": the hyphen means itself
    at_ = before;
    return low;
  }
  if (high[0].first < low[0].first)
    return malformed("empty range in a class");
  return CharRanges{{low[0].first, high[0].first}};
}

Result<CharRanges> ExpressionReader::classChar() {
  if (!accept("\\")) {
    uint32_t c = nextChar();
    return CharRanges{{c, c}};
  }
  if (atEnd())
    return malformed("backslash at the end");
  if (accept("b"))
    return CharRanges{{0x8, 0x8}};
  LLMOPT_ASSIGN(std::optional<CharRanges> set, escapedSet());
  if (!set)
    return missing(std::string("\\") + peek() + " in a class");
  return *set;
}
