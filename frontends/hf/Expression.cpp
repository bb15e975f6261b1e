//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"

#include <algorithm>
#include <charconv>

using namespace llmopt;
using namespace llmopt::hf;
using Kind = ExpressionNode::Kind;

namespace {

/// Nesting that no description needs, and that recursion can bear.
constexpr int kMaxDepth = 100;
constexpr size_t kMaxLength = 4096;

bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// Recursive descent, one function a level of precedence.
class Parser {
public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<ExpressionNode> parseAll() {
    LLMOPT_ASSIGN(ExpressionNode node, conditional());
    skipSpace();
    if (at_ != text_.size())
      return error("unexpected text");
    return node;
  }

private:
  Status error(const std::string &problem) const {
    return badInput("E0420", problem + " at character " + std::to_string(at_ + 1) + " of \"" + std::string(text_) + "\"");
  }
  void skipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t'))
      ++at_;
  }
  /// Takes `token` unless a longer operator begins with it (`?` of `??`, `*` of `**`).
  bool take(std::string_view token) {
    static constexpr std::string_view kLonger[] = {"??", "**", "//", "==", "!=", "<=", ">=", "&&", "||"};
    skipSpace();
    std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(token))
      return false;
    for (std::string_view longer : kLonger)
      if (longer.size() > token.size() && longer.starts_with(token) && rest.starts_with(longer))
        return false;
    at_ += token.size();
    return true;
  }
  static ExpressionNode make(Kind kind, std::string text, std::vector<ExpressionNode> children) {
    return {kind, std::move(text), Json(), std::move(children)};
  }

  Result<ExpressionNode> conditional() {
    if (++depth_ > kMaxDepth)
      return error("nesting is too deep");
    LLMOPT_ASSIGN(ExpressionNode condition, binary(0));
    if (take("?")) {
      LLMOPT_ASSIGN(ExpressionNode yes, conditional());
      if (!take(":"))
        return error("expected ':'");
      LLMOPT_ASSIGN(ExpressionNode no, conditional());
      condition = make(Kind::Conditional, "?", {std::move(condition), std::move(yes), std::move(no)});
    }
    --depth_;
    return condition;
  }

  Result<ExpressionNode> binary(size_t level) {
    static const std::vector<std::vector<std::string_view>> kLevels = {
        {"??"}, {"||"}, {"&&"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "//", "/", "%"}};
    if (level == kLevels.size())
      return unary();
    LLMOPT_ASSIGN(ExpressionNode left, binary(level + 1));
    while (true) {
      const auto &operators = kLevels[level];
      auto it = std::find_if(operators.begin(), operators.end(), [&](std::string_view token) { return take(token); });
      if (it == operators.end())
        return left;
      LLMOPT_ASSIGN(ExpressionNode right, binary(level + 1));
      left = make(Kind::Binary, std::string(*it), {std::move(left), std::move(right)});
    }
  }

  Result<ExpressionNode> unary() {
    if (++depth_ > kMaxDepth)
      return error("nesting is too deep");
    Result<ExpressionNode> node = take("-") ? negated("-") : take("!") ? negated("!") : power();
    --depth_;
    return node;
  }
  Result<ExpressionNode> negated(const char *sign) {
    LLMOPT_ASSIGN(ExpressionNode operand, unary());
    return make(Kind::Unary, sign, {std::move(operand)});
  }
  Result<ExpressionNode> power() {
    LLMOPT_ASSIGN(ExpressionNode base, postfix());
    if (!take("**"))
      return base;
    LLMOPT_ASSIGN(ExpressionNode exponent, unary());
    return make(Kind::Binary, "**", {std::move(base), std::move(exponent)});
  }

  Result<ExpressionNode> postfix() {
    LLMOPT_ASSIGN(ExpressionNode node, primary());
    while (true) {
      if (take("[")) {
        LLMOPT_ASSIGN(ExpressionNode index, conditional());
        if (!take("]"))
          return error("expected ']'");
        node = make(Kind::Index, "[]", {std::move(node), std::move(index)});
      } else if (take("(")) {
        std::vector<ExpressionNode> children{std::move(node)};
        LLMOPT_RETURN_IF_ERROR(arguments(children));
        node = make(Kind::Call, "()", std::move(children));
      } else if (take(".")) {
        std::string member = name();
        if (member.empty())
          return error("expected a name after '.'");
        node = make(Kind::Member, std::move(member), {std::move(node)});
      } else {
        return node;
      }
    }
  }
  Status arguments(std::vector<ExpressionNode> &children) {
    if (take(")"))
      return {};
    do {
      LLMOPT_ASSIGN(ExpressionNode argument, conditional());
      children.push_back(std::move(argument));
    } while (take(","));
    return take(")") ? Status() : error("expected ')'");
  }

  Result<ExpressionNode> primary() {
    skipSpace();
    if (take("(")) {
      LLMOPT_ASSIGN(ExpressionNode inner, conditional());
      if (!take(")"))
        return error("expected ')'");
      return inner;
    }
    if (at_ < text_.size() && text_[at_] == '\'')
      return quoted();
    if (at_ < text_.size() && (isDigit(text_[at_]) || text_[at_] == '.'))
      return number();
    std::string word = name();
    if (word.empty())
      return error("expected a value");
    if (word == "true" || word == "false")
      return ExpressionNode{Kind::Literal, {}, Json(word == "true"), {}};
    if (word == "null")
      return ExpressionNode{};
    return make(Kind::Name, std::move(word), {});
  }
  std::string name() {
    skipSpace();
    size_t begin = at_;
    if (at_ < text_.size() && isNameStart(text_[at_]))
      while (at_ < text_.size() && (isNameStart(text_[at_]) || isDigit(text_[at_])))
        ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  Result<ExpressionNode> quoted() {
    size_t close = text_.find('\'', at_ + 1);
    if (close == text_.npos)
      return error("text without closing quote");
    ExpressionNode node{Kind::Literal, {}, Json(text_.substr(at_ + 1, close - at_ - 1)), {}};
    at_ = close + 1;
    return node;
  }
  Result<ExpressionNode> number() {
    const char *begin = text_.data() + at_, *stop = text_.data() + text_.size();
    double real = 0;
    auto [after, problem] = std::from_chars(begin, stop, real);
    if (problem != std::errc())
      return error("not a number");
    int64_t whole = 0;
    auto [wholeEnd, wholeProblem] = std::from_chars(begin, stop, whole);
    bool isWhole = wholeProblem == std::errc() && wholeEnd == after;
    at_ += size_t(after - begin);
    return ExpressionNode{Kind::Literal, {}, isWhole ? Json(whole) : Json(real), {}};
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

/// The path of a chain of members ("attn_config.alibi"), or nothing.
std::string pathOf(const ExpressionNode &node) {
  if (node.kind == Kind::Name)
    return node.text;
  std::string base = node.kind == Kind::Member ? pathOf(node.children[0]) : "";
  return base.empty() ? "" : base + "." + node.text;
}

void collect(const ExpressionNode &node, std::vector<std::string> &names) {
  if (std::string path = pathOf(node); !path.empty()) {
    names.push_back(std::move(path));
    return;
  }
  for (const ExpressionNode &child : node.children)
    collect(child, names);
}

} // namespace

Result<Expression> Expression::parse(std::string_view text) {
  if (text.size() > kMaxLength)
    return badInput("E0420", "a formula has more than " + std::to_string(kMaxLength) + " characters");
  LLMOPT_ASSIGN(ExpressionNode root, Parser(text).parseAll());
  Expression expression;
  expression.root_ = std::make_shared<const ExpressionNode>(std::move(root));
  expression.text_ = text.substr(std::min(text.find_first_not_of(' '), text.size()));
  return expression;
}

Result<Expression> Expression::fromJson(const Json &json) {
  if (json.isString())
    return parse(json.asString());
  if (json.isNumber() || json.isBool() || json.isNull())
    return literal(json);
  return badInput("E0420", "expected a formula, a number or a truth value, found " + json.str());
}

Expression Expression::literal(Json value) {
  Expression expression;
  expression.text_ = value.str();
  expression.root_ = std::make_shared<const ExpressionNode>(ExpressionNode{Kind::Literal, {}, std::move(value), {}});
  return expression;
}

void Expression::collectNames(std::vector<std::string> &names) const {
  if (root_)
    collect(*root_, names);
}
