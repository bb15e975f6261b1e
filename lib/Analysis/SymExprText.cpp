//===- SymExprText.cpp - printing and reading symbolic expressions --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "SymExprImpl.h"

#include <charconv>

using namespace llmopt;

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static std::string print(const SymNode *node);

static std::string printSum(const SymNode *node) {
  std::string text;
  for (size_t i = 0; i < node->operands.size(); ++i) {
    int64_t factor = node->factors[i];
    if (!text.empty())
      text += factor < 0 ? " - " : " + ";
    else if (factor < 0)
      text += "-";
    uint64_t magnitude = factor < 0 ? 0 - uint64_t(factor) : uint64_t(factor);
    if (magnitude != 1)
      text += std::to_string(magnitude) + " * ";
    text += print(node->operands[i]);
  }
  if (node->value != 0) {
    uint64_t magnitude = node->value < 0 ? 0 - uint64_t(node->value) : uint64_t(node->value);
    text += (node->value < 0 ? " - " : " + ") + std::to_string(magnitude);
  }
  return text;
}

static std::string print(const SymNode *node) {
  auto call = [&](std::string_view name) {
    return std::string(name) + "(" + print(node->operands[0]) + ", " + print(node->operands[1]) + ")";
  };
  switch (node->op) {
  case SymOp::Constant:
    return std::to_string(node->value);
  case SymOp::Symbol:
    return node->name;
  case SymOp::Sum:
    return printSum(node);
  case SymOp::Product: {
    std::string text;
    for (const SymNode *operand : node->operands)
      text += (text.empty() ? "" : " * ") + print(operand);
    return text;
  }
  case SymOp::FloorDiv:
    return call("floordiv");
  case SymOp::CeilDiv:
    return call("ceildiv");
  case SymOp::Mod:
    return call("mod");
  case SymOp::Min:
    return call("min");
  case SymOp::Max:
    return call("max");
  case SymOp::Broadcast:
    return call("broadcast");
  }
  return "?";
}

std::string SymExpr::str() const { return node_ ? print(node_) : "?"; }

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

/// Recursive descent over
///   sum = product {("+" | "-") product}     product = unary {("*" | "/" | "//" | "%") unary}
///   unary = "-" unary | number | name | function "(" sum "," sum ")" | "(" sum ")"
/// An unknown expression stands for "not understood".
class Parser {
public:
  Parser(SymContext &symbols, std::string_view text) : symbols_(symbols), text_(text) {}

  SymExpr whole() {
    SymExpr result = sum();
    skipBlanks();
    return at_ == text_.size() ? result : SymExpr();
  }

private:
  static constexpr int kMaxDepth = 64;

  static bool isDigit(char c) { return c >= '0' && c <= '9'; }
  /// Bytes of UTF-8 count as letters.
  static bool isLetter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == ':' || (c & 0x80);
  }

  void skipBlanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t'))
      ++at_;
  }
  bool accept(std::string_view token) {
    skipBlanks();
    if (text_.substr(at_, token.size()) != token)
      return false;
    at_ += token.size();
    return true;
  }

  SymExpr sum() {
    SymExpr left = product();
    while (left.known()) {
      if (accept("+"))
        left = symbols_.add(left, product());
      else if (accept("-"))
        left = symbols_.sub(left, product());
      else
        break;
    }
    return left;
  }

  SymExpr product() {
    SymExpr left = unary();
    while (left.known()) {
      if (accept("*"))
        left = symbols_.mul(left, unary());
      else if (accept("//") || accept("/"))
        left = symbols_.floorDiv(left, unary());
      else if (accept("%"))
        left = symbols_.mod(left, unary());
      else
        break;
    }
    return left;
  }

  SymExpr unary() {
    if (++depth_ > kMaxDepth)
      return {};
    SymExpr result = accept("-") ? symbols_.sub(symbols_.constant(0), unary()) : primary();
    --depth_;
    return result;
  }

  SymExpr primary() {
    if (accept("(")) {
      SymExpr inner = sum();
      return accept(")") ? inner : SymExpr();
    }
    if (at_ >= text_.size())
      return {};
    if (isDigit(text_[at_])) {
      int64_t value = 0;
      auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      at_ = size_t(end - text_.data());
      // "2d_mask" is a name nobody meant as a product.
      return error != std::errc() || (at_ < text_.size() && isLetter(text_[at_])) ? SymExpr() : symbols_.constant(value);
    }
    std::string_view word = name();
    if (word.empty())
      return {};
    return accept("(") ? call(word) : symbols_.symbol(word);
  }

  std::string_view name() {
    size_t start = at_;
    if (at_ >= text_.size() || !isLetter(text_[at_]))
      return {};
    while (at_ < text_.size()) {
      // A dash between letters, without blanks, is part of a name ("encoder-length").
      bool dash = text_[at_] == '-' && at_ + 1 < text_.size() && isLetter(text_[at_ + 1]);
      if (!isLetter(text_[at_]) && !isDigit(text_[at_]) && !dash)
        break;
      ++at_;
    }
    return text_.substr(start, at_ - start);
  }

  SymExpr call(std::string_view function) {
    SymExpr a = sum();
    if (!accept(","))
      return {};
    SymExpr b = sum();
    if (!accept(")"))
      return {};
    if (function == "floordiv" || function == "FloorDiv")
      return symbols_.floorDiv(a, b);
    if (function == "ceildiv" || function == "CeilDiv")
      return symbols_.ceilDiv(a, b);
    if (function == "mod" || function == "Mod")
      return symbols_.mod(a, b);
    if (function == "min" || function == "Min")
      return symbols_.min(a, b);
    if (function == "max" || function == "Max")
      return symbols_.max(a, b);
    if (function == "broadcast")
      return symbols_.broadcast(a, b);
    return {};
  }

  SymContext &symbols_;
  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

} // namespace

SymExpr SymContext::parse(std::string_view text) {
  SymExpr result = Parser(*this, text).whole();
  return result.known() ? result : symbol(text);
}
