//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Evaluate.h"

#include <cmath>
#include <limits>

using namespace llmopt;
using namespace llmopt::hf;

/// transformers 5 writes what JSON lacks as {"__float__": "Infinity"}.
static Json plainNumber(const Json &json) {
  const Json *text = json.find("__float__");
  if (!text || !text->isString())
    return json;
  double infinity = std::numeric_limits<double>::infinity();
  if (text->asString() == "Infinity")
    return Json(infinity);
  return text->asString() == "-Infinity" ? Json(-infinity) : Json(std::numeric_limits<double>::quiet_NaN());
}

Result<Operand> ConfigScope::name(const std::string &name) {
  if (name == "i")
    return Operand{layer_ < 0 ? Json() : Json(layer_), {}};
  auto value = values_.find(name);
  if (value == values_.end() || active_.contains(name)) {
    const Json *found = config_.find(name);
    return Operand{found ? plainNumber(*found) : Json(), {}};
  }
  active_.insert(name);
  Result<Operand> result = evaluate(value->second, *this);
  active_.erase(name);
  return result;
}

Result<Json> ConfigScope::value(const Expression &expression) {
  if (!expression)
    return Json();
  Result<Operand> result = evaluate(expression, *this);
  if (result)
    return std::move(result->json);
  Error error = result.error();
  error.message += " (in \"" + expression.text() + "\")";
  return error;
}

static Status mismatch(const Expression &expression, const std::string &wanted, const Json &found) {
  std::string text = expression ? "\"" + expression.text() + "\"" : "a formula that the description leaves out";
  return badInput("E0421", text + " must be " + wanted + ", found " + found.str());
}

Result<int64_t> ConfigScope::integer(const Expression &expression, int64_t least, int64_t most, std::optional<int64_t> fallback) {
  LLMOPT_ASSIGN(Json found, value(expression));
  if (found.isNull() && fallback)
    return *fallback;
  // Sizes computed with `/`, and files that write 4.0 for 4.
  if (found.kind() == Json::Kind::Double && std::abs(found.asDouble()) < 0x1p53 && std::trunc(found.asDouble()) == found.asDouble())
    found = Json(int64_t(found.asDouble()));
  if (!found.isInt() || found.asInt() < least || found.asInt() > most)
    return mismatch(expression, "an integer from " + std::to_string(least) + " to " + std::to_string(most), found);
  return found.asInt();
}

Result<double> ConfigScope::number(const Expression &expression, std::optional<double> fallback) {
  LLMOPT_ASSIGN(Json found, value(expression));
  if (found.isNull() && fallback)
    return *fallback;
  if (!found.isNumber())
    return mismatch(expression, "a number", found);
  return found.asDouble();
}

Result<bool> ConfigScope::boolean(const Expression &expression, bool fallback) {
  LLMOPT_ASSIGN(Json found, value(expression));
  if (found.isNull())
    return fallback;
  if (found.isBool())
    return found.asBool();
  if (found.isInt()) // SmolLM3 lists layers as 0 and 1
    return found.asInt() != 0;
  return mismatch(expression, "true or false", found);
}

Result<std::string> ConfigScope::text(const Expression &expression, std::optional<std::string> fallback) {
  LLMOPT_ASSIGN(Json found, value(expression));
  if (found.isNull() && fallback)
    return *fallback;
  if (!found.isString())
    return mismatch(expression, "text", found);
  return found.asString();
}
