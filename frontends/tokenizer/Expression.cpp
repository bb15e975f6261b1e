//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"

#include "ExpressionReader.h"

#include <algorithm>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

using namespace llmopt;
using namespace llmopt::frontend;
using Node = ExpressionNode;

static constexpr int kMaxDepth = 64;
static constexpr uint32_t kMaxCount = 100000;

static Node node(Node::Kind kind, std::vector<Node> children = {}) {
  Node result;
  result.kind = kind;
  result.children = std::move(children);
  return result;
}

static Node anchorNode(char name) {
  Node result = node(Node::Anchor);
  result.anchor = name;
  return result;
}

Node ExpressionReader::setNode(CharRanges set) const {
  Node result = node(Node::Set);
  result.set = ignoreCase_ ? caseClosure(set) : std::move(set);
  return result;
}

Result<Node> ExpressionReader::read() {
  LLMOPT_ASSIGN(Node tree, alternatives(0));
  if (!atEnd())
    return malformed("')' without '('");
  return tree;
}

Result<Node> ExpressionReader::alternatives(int depth) {
  if (depth > kMaxDepth)
    return malformed("groups nested too deeply");
  // Options set inside a group end with it.
  bool ignoreCase = ignoreCase_, dotAll = dotAll_, extended = extended_;
  std::vector<Node> choices;
  do {
    LLMOPT_ASSIGN(Node choice, sequence(depth));
    choices.push_back(std::move(choice));
  } while (accept("|"));
  ignoreCase_ = ignoreCase, dotAll_ = dotAll, extended_ = extended;
  return choices.size() == 1 ? std::move(choices[0]) : node(Node::Alternatives, std::move(choices));
}

void ExpressionReader::skipComment() {
  while (extended_ && !atEnd()) {
    if (peek() == '#')
      at_ = std::min(text_.find('\n', at_), text_.size());
    else if (peek() == ' ' || (peek() >= '\t' && peek() <= '\r'))
      ++at_;
    else
      return;
  }
}

Result<Node> ExpressionReader::sequence(int depth) {
  Node result = node(Node::Sequence);
  for (skipComment(); !atEnd() && peek() != '|' && peek() != ')'; skipComment()) {
    LLMOPT_ASSIGN(Node part, atom(depth));
    LLMOPT_ASSIGN(Node whole, repeated(std::move(part)));
    result.children.push_back(std::move(whole));
  }
  return result;
}

/// {n}, {n,}, {n,m} or {,m}; anything else in braces means itself.
bool ExpressionReader::counts(uint32_t &min, uint32_t &max) {
  size_t before = at_++;
  auto number = [&](uint32_t &value) {
    size_t begin = at_;
    for (value = 0; peek() >= '0' && peek() <= '9' && value <= kMaxCount; ++at_)
      value = value * 10 + uint32_t(peek() - '0');
    return at_ > begin;
  };
  bool low = number(min), comma = accept(","), high = comma && number(max);
  if (!comma)
    max = min;
  else if (!high)
    max = tokenizer::kNoLimit;
  if (accept("}") && (low || high))
    return true;
  at_ = before;
  return false;
}

Result<Node> ExpressionReader::repeated(Node atom) {
  for (skipComment();; skipComment()) {
    Node repeat = node(Node::Repeat);
    bool braces = peek() == '{';
    if (accept("*"))
      repeat.min = 0, repeat.max = tokenizer::kNoLimit;
    else if (accept("+"))
      repeat.min = 1, repeat.max = tokenizer::kNoLimit;
    else if (accept("?"))
      repeat.min = 0, repeat.max = 1;
    else if (!braces || !counts(repeat.min, repeat.max))
      return atom;
    if (repeat.min > repeat.max || (repeat.max != tokenizer::kNoLimit && repeat.max > kMaxCount))
      return malformed("bad count");
    if (atom.kind == Node::Anchor || atom.kind == Node::Look)
      return missing("a repeated assertion");
    if (accept("?"))
      repeat.greed = Node::Lazy;
    else if (!braces && accept("+")) // behind braces, '+' repeats the repetition
      repeat.greed = Node::Possessive;
    repeat.children.push_back(std::move(atom));
    atom = std::move(repeat);
  }
}

Result<Node> ExpressionReader::atom(int depth) {
  if (accept("("))
    return group(depth);
  if (accept("[")) {
    LLMOPT_ASSIGN(CharRanges set, charClass(0));
    Node result = node(Node::Set); // case has been seen to inside, before negation
    result.set = std::move(set);
    return result;
  }
  if (accept("."))
    return setNode(dotAll_ ? CharRanges{{0, 0x10FFFF}} : complement({{'\n', '\n'}}));
  if (accept("^"))
    return anchorNode('^');
  if (accept("$"))
    return anchorNode('$');
  if (accept("\\"))
    return escape();
  if (peek() == '*' || peek() == '+' || peek() == '?')
    return malformed("nothing to repeat");
  uint32_t c = nextChar();
  return setNode({{c, c}});
}

Result<Node> ExpressionReader::escape() {
  if (atEnd())
    return malformed("backslash at the end");
  if (std::string_view("AzZGbB").find(peek()) != std::string_view::npos)
    return anchorNode(text_[at_++]);
  if (peek() >= '1' && peek() <= '9') {
    Node result = node(Node::BackReference);
    result.number = uint32_t(text_[at_++] - '0');
    if (result.number > captures_ || (peek() >= '0' && peek() <= '9'))
      return missing("this back reference");
    return result;
  }
  if (accept("R")) {
    Node lineEnd = setNode(makeRanges({{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}}));
    Node pair = node(Node::Sequence, {setNode({{'\r', '\r'}}), setNode({{'\n', '\n'}})});
    return node(Node::Atomic, {node(Node::Alternatives, {std::move(pair), std::move(lineEnd)})});
  }
  LLMOPT_ASSIGN(std::optional<CharRanges> set, escapedSet());
  if (!set)
    return missing(std::string("\\") + peek());
  return setNode(std::move(*set));
}

Result<Node> ExpressionReader::group(int depth) {
  if (accept("?#")) {
    at_ = std::min(text_.find(')', at_), text_.size());
    return accept(")") ? Result<Node>(node(Node::Sequence)) : malformed("')' expected");
  }
  Node result = node(Node::Capture);
  if (accept("?:"))
    result.kind = Node::Sequence;
  else if (accept("?>"))
    result.kind = Node::Atomic;
  else if (accept("?=") || accept("?!") || accept("?<=") || accept("?<!")) {
    result.kind = Node::Look;
    result.negative = text_[at_ - 1] == '!';
    result.behind = text_[at_ - 2] == '<';
  } else if (peek() == '?') {
    return options(depth);
  } else {
    ++captures_;
  }
  LLMOPT_ASSIGN(Node inner, alternatives(depth + 1));
  if (!accept(")"))
    return malformed("')' expected");
  result.children.push_back(std::move(inner));
  return result;
}

/// "(?i)", "(?i:...)" and the like, from the question mark on.
Result<Node> ExpressionReader::options(int depth) {
  ++at_;
  bool ignoreCase = ignoreCase_, dotAll = dotAll_, extended = extended_, on = true;
  for (; peek() != ')' && peek() != ':'; ++at_) {
    if (peek() == '-')
      on = false;
    else if (peek() == 'i')
      ignoreCase = on;
    else if (peek() == 'm')
      dotAll = on;
    else if (peek() == 'x')
      extended = on;
    else
      return missing("group '(?" + std::string(1, peek()) + "'");
  }
  bool alone = accept(")");
  if (!alone)
    accept(":");
  std::swap(ignoreCase, ignoreCase_), std::swap(dotAll, dotAll_), std::swap(extended, extended_);
  LLMOPT_ASSIGN(Node inner, alternatives(depth + 1));
  if (!alone) { // without a colon the options hold to the end of the group around
    std::swap(ignoreCase, ignoreCase_), std::swap(dotAll, dotAll_), std::swap(extended, extended_);
    if (!accept(")"))
      return malformed("')' expected");
  }
  return inner;
}

Result<Node> frontend::parseExpression(std::string_view expression) { return ExpressionReader(expression).read(); }

uint32_t frontend::internSet(const CharRanges &set, std::vector<CharRanges> &sets) {
  auto same = [](const CharRange &a, const CharRange &b) { return a.first == b.first && a.last == b.last; };
  for (size_t i = 0; i < sets.size(); ++i)
    if (std::equal(sets[i].begin(), sets[i].end(), set.begin(), set.end(), same))
      return uint32_t(i);
  sets.push_back(set);
  return uint32_t(sets.size() - 1);
}

/// Empty if PCRE2 takes the expression, else its reason.
static std::string pcreProblem(const std::string &expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code *code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  if (code) {
    pcre2_code_free(code);
    return {};
  }
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

Result<tokenizer::Matcher> frontend::compileExpression(std::string_view expression, std::vector<CharRanges> &sets) {
  LLMOPT_ASSIGN(Node tree, parseExpression(expression));
  tokenizer::Matcher matcher;
  matcher.kind = tokenizer::Matcher::Program;
  size_t before = sets.size();
  if (lowerToProgram(tree, sets, matcher.program)) {
    matcher.program.push_back({});
    return matcher;
  }
  sets.resize(before);
  matcher.program.clear();
  matcher.kind = tokenizer::Matcher::Regex;
  matcher.text = writeForPcre(tree);
  if (std::string problem = pcreProblem(matcher.text); !problem.empty())
    return unsupported("E1302", "split expression is not supported: " + problem);
  return matcher;
}
