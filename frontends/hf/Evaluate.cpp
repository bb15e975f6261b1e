//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace llmopt;
using namespace llmopt::hf;
using Kind = ExpressionNode::Kind;

static Status problem(const std::string &text) { return badInput("E0421", text); }

Result<Operand> Scope::call(const std::string &callee, const std::vector<Operand> &) {
  return problem("unknown function '" + callee + "'");
}
Result<Operand> Scope::arithmetic(const std::string &symbol, const Operand &, const Operand &) {
  return problem("'" + symbol + "' of tensors has no meaning here");
}

/// As in Python: null, false, zero and what is empty are false.
static bool truth(const Operand &operand) {
  const Json &value = operand.json;
  switch (value.kind()) {
  case Json::Kind::Null: return operand.isTensor();
  case Json::Kind::Bool: return value.asBool();
  case Json::Kind::Int: return value.asInt() != 0;
  case Json::Kind::Double: return value.asDouble() != 0;
  case Json::Kind::String: return !value.asString().empty();
  case Json::Kind::Array: return !value.asArray().empty();
  case Json::Kind::Object: return !value.asObject().empty();
  }
  return false;
}

static bool equal(const Json &a, const Json &b) {
  if (a.isNumber() && b.isNumber())
    return a.asDouble() == b.asDouble();
  return a.kind() == b.kind() && a.str() == b.str();
}

static int64_t floorDivide(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }

/// Integers stay integers where the result is one; nothing when it does not fit.
static std::optional<Json> integerArithmetic(char symbol, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (symbol) {
  case '+': return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional<Json>(result);
  case '-': return __builtin_sub_overflow(a, b, &result) ? std::nullopt : std::optional<Json>(result);
  case '*': return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional<Json>(result);
  }
  if (b == 0 || b == -1) // -1: the lowest integer has no negative
    return std::nullopt;
  return symbol == '%' ? Json(a - b * floorDivide(a, b)) : Json(floorDivide(a, b));
}

static Result<Json> numberArithmetic(const std::string &symbol, const Json &left, const Json &right) {
  if (left.isInt() && right.isInt() && symbol != "/" && symbol != "**") {
    if (std::optional<Json> result = integerArithmetic(symbol == "//" ? 'q' : symbol[0], left.asInt(), right.asInt()))
      return *result;
    return problem(left.str() + " " + symbol + " " + right.str() + " does not fit an integer");
  }
  double a = left.asDouble(), b = right.asDouble();
  if (symbol == "+") return Json(a + b);
  if (symbol == "-") return Json(a - b);
  if (symbol == "*") return Json(a * b);
  if (symbol == "/") return Json(a / b);
  if (symbol == "//") return Json(std::floor(a / b));
  if (symbol == "%") return Json(a - b * std::floor(a / b));
  return Json(std::pow(a, b));
}

/// sqrt, log, floor, int, len, min, max, contains; nothing for other names.
static std::optional<Result<Json>> arithmeticFunction(const std::string &name, const std::vector<Operand> &arguments) {
  static const std::set<std::string> kNames = {"sqrt", "log", "floor", "int", "len", "min", "max", "contains"};
  if (!kNames.contains(name))
    return std::nullopt;
  bool two = name == "min" || name == "max" || name == "contains";
  if (arguments.size() != (two ? 2u : 1u))
    return problem("wrong number of arguments of '" + name + "'");
  const Json &a = arguments[0].json;
  if (name == "len")
    return a.isArray() ? Result<Json>(Json(uint64_t(a.asArray().size()))) : problem("'len' needs a list");
  if (name == "contains") { // of a list that the config may leave out
    if (!a.isArray() && !a.isNull())
      return problem("'contains' needs a list");
    auto isIt = [&](const Json &element) { return equal(element, arguments[1].json); };
    return Json(a.isArray() && std::any_of(a.asArray().begin(), a.asArray().end(), isIt));
  }
  if (!a.isNumber() || (two && !arguments[1].json.isNumber()))
    return problem("'" + name + "' needs numbers");
  if (two)
    return (a.asDouble() < arguments[1].json.asDouble()) == (name == "min") ? a : arguments[1].json;
  double value = a.asDouble();
  if (name == "sqrt" || name == "log")
    return Json(name == "sqrt" ? std::sqrt(value) : std::log(value));
  double whole = name == "floor" ? std::floor(value) : std::trunc(value);
  return std::abs(whole) < 0x1p62 ? Result<Json>(Json(int64_t(whole))) : problem("'" + name + "' of a number that is too large");
}

namespace {

class Evaluator {
public:
  explicit Evaluator(Scope &scope) : scope_(scope) {}

  Result<Operand> operator()(const ExpressionNode &node) {
    switch (node.kind) {
    case Kind::Literal: return Operand{node.literal, {}};
    case Kind::Name: return scope_.name(node.text);
    case Kind::Member: return member(node);
    case Kind::Index: return index(node);
    case Kind::Call: return call(node);
    case Kind::Unary: return unary(node);
    case Kind::Binary: return binary(node);
    case Kind::Conditional: return conditional(node);
    }
    return problem("unknown kind of formula");
  }

private:
  Result<Operand> member(const ExpressionNode &node) {
    LLMOPT_ASSIGN(Operand base, (*this)(node.children[0]));
    const Json *found = base.json.find(node.text);
    return Operand{found ? *found : Json(), {}};
  }

  Result<Operand> index(const ExpressionNode &node) {
    LLMOPT_ASSIGN(Operand base, (*this)(node.children[0]));
    LLMOPT_ASSIGN(Operand at, (*this)(node.children[1]));
    if (base.json.isNull() && !base.isTensor()) // a list that the config leaves out
      return Operand{};
    if (base.json.isObject() && at.json.isString()) {
      const Json *found = base.json.find(at.json.asString());
      return Operand{found ? *found : Json(), {}};
    }
    if (!base.json.isArray() || !at.json.isInt())
      return problem("'[]' needs a list and an integer");
    const Json::Array &list = base.json.asArray();
    if (at.json.asInt() < 0 || size_t(at.json.asInt()) >= list.size())
      return problem("element " + at.json.str() + " of a list of " + std::to_string(list.size()));
    return Operand{list[size_t(at.json.asInt())], {}};
  }

  Result<Operand> call(const ExpressionNode &node) {
    const ExpressionNode &callee = node.children[0];
    std::string name = callee.text;
    if (callee.kind == Kind::Member && callee.children[0].kind == Kind::Name)
      name = callee.children[0].text + "." + name;
    else if (callee.kind != Kind::Name)
      return problem("only a named function can be called");
    std::vector<Operand> arguments;
    bool tensors = false;
    for (size_t i = 1; i < node.children.size(); ++i) {
      LLMOPT_ASSIGN(Operand argument, (*this)(node.children[i]));
      tensors |= argument.isTensor();
      arguments.push_back(std::move(argument));
    }
    std::optional<Result<Json>> number = tensors ? std::nullopt : arithmeticFunction(name, arguments);
    if (!number)
      return scope_.call(name, arguments);
    if (!*number)
      return number->status();
    return Operand{number->take(), {}};
  }

  Result<Operand> unary(const ExpressionNode &node) {
    LLMOPT_ASSIGN(Operand operand, (*this)(node.children[0]));
    if (node.text == "!")
      return Operand{Json(!truth(operand)), {}};
    return arithmetic("*", Operand{Json(-1), {}}, operand, node.children[0]);
  }

  Result<Operand> binary(const ExpressionNode &node) {
    LLMOPT_ASSIGN(Operand left, (*this)(node.children[0]));
    const std::string &symbol = node.text;
    bool leftIsNull = left.json.isNull() && !left.isTensor();
    if (symbol == "??" ? !leftIsNull : symbol == "||" ? truth(left) : symbol == "&&" ? !truth(left) : false)
      return left;
    LLMOPT_ASSIGN(Operand right, (*this)(node.children[1]));
    if (symbol == "??" || symbol == "||" || symbol == "&&")
      return right;
    if (symbol == "==" || symbol == "!=")
      return Operand{Json(equal(left.json, right.json) == (symbol == "==")), {}};
    if (symbol[0] == '<' || symbol[0] == '>')
      return compare(symbol, left.json, right.json);
    return arithmetic(symbol, left, right, node);
  }

  Result<Operand> compare(const std::string &symbol, const Json &left, const Json &right) {
    if (!left.isNumber() || !right.isNumber())
      return problem("'" + symbol + "' needs numbers, found " + left.str() + " and " + right.str());
    double a = left.asDouble(), b = right.asDouble();
    bool result = symbol == "<" ? a < b : symbol == "<=" ? a <= b : symbol == ">" ? a > b : a >= b;
    return Operand{Json(result), {}};
  }

  Result<Operand> arithmetic(const std::string &symbol, const Operand &left, const Operand &right, const ExpressionNode &node) {
    if (left.isTensor() || right.isTensor())
      return scope_.arithmetic(symbol, left, right);
    if (!left.json.isNumber() || !right.json.isNumber())
      return problem(missing(left, right, node));
    LLMOPT_ASSIGN(Json result, numberArithmetic(symbol, left.json, right.json));
    return Operand{std::move(result), {}};
  }

  /// Mostly a key that config.json should have: say its name.
  static std::string missing(const Operand &left, const Operand &right, const ExpressionNode &node) {
    const Operand *operands[] = {&left, &right};
    for (size_t i = 0; i < node.children.size() && i < 2; ++i)
      if (operands[i]->json.isNull() && node.children[i].kind == Kind::Name)
        return "'" + node.children[i].text + "' is missing";
    if (node.kind == Kind::Name && right.json.isNull())
      return "'" + node.text + "' is missing";
    return "arithmetic needs numbers, found " + left.json.str() + " and " + right.json.str();
  }

  Result<Operand> conditional(const ExpressionNode &node) {
    LLMOPT_ASSIGN(Operand condition, (*this)(node.children[0]));
    return (*this)(node.children[truth(condition) ? 1 : 2]);
  }

  Scope &scope_;
};

} // namespace

Result<Operand> hf::evaluate(const Expression &expression, Scope &scope) {
  return Evaluator(scope)(expression.root());
}
