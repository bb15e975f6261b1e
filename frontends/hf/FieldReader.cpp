//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "FieldReader.h"

using namespace llmopt;
using namespace llmopt::hf;

FieldReader::FieldReader(const Json &object, std::string where, std::vector<std::string> &mentioned)
    : json_(object), where_(std::move(where)), mentioned_(mentioned) {
  read_.insert("about"); // prose for the reader of the file
  if (!json_.isObject())
    fail("expected an object");
}

void FieldReader::fail(const std::string &problem) {
  if (status_.ok())
    status_ = badInput("E0420", "invalid description: " + problem, where_);
}

const Json *FieldReader::find(const std::string &key) {
  read_.insert(key);
  return json_.find(key);
}

Expression FieldReader::formula(const std::string &key, const char *fallback) {
  const Json *json = find(key);
  if (!json && !fallback)
    return Expression();
  Result<Expression> expression = json ? Expression::fromJson(*json) : Expression::parse(fallback);
  if (!expression) {
    fail("'" + key + "': " + expression.error().message);
    return Expression();
  }
  expression->collectNames(mentioned_);
  return expression.take();
}

std::string FieldReader::text(const std::string &key, const char *fallback) {
  const Json *json = find(key);
  if (json && json->isString())
    return json->asString();
  if (json || !fallback)
    fail("'" + key + "' must be text");
  return fallback ? fallback : "";
}

bool FieldReader::flag(const std::string &key) {
  const Json *json = find(key);
  if (json && !json->isBool())
    fail("'" + key + "' must be true or false");
  return json && json->isBool() && json->asBool();
}

std::vector<std::string> FieldReader::texts(const std::string &key) {
  std::vector<std::string> list;
  const Json *json = find(key);
  if (json && !json->isArray())
    fail("'" + key + "' must be a list of texts");
  if (!json || !json->isArray())
    return list;
  for (const Json &element : json->asArray()) {
    if (!element.isString())
      fail("'" + key + "' must be a list of texts");
    else
      list.push_back(element.asString());
  }
  return list;
}

std::map<std::string, std::string> FieldReader::textMap(const std::string &key) {
  std::map<std::string, std::string> map;
  const Json *json = find(key);
  if (json && !json->isObject())
    fail("'" + key + "' must be an object of texts");
  if (!json || !json->isObject())
    return map;
  for (const auto &[name, value] : json->asObject()) {
    if (!value.isString())
      fail("'" + key + "." + name + "' must be text");
    else
      map[name] = value.asString();
  }
  return map;
}

FieldReader FieldReader::object(const std::string &key) {
  static const Json empty{Json::Object()};
  const Json *json = find(key);
  return FieldReader(json ? *json : empty, where_ + ": " + key, mentioned_);
}

const Json::Object &FieldReader::members() const {
  static const Json::Object empty;
  return json_.isObject() ? json_.asObject() : empty;
}

Status FieldReader::finish() {
  for (const auto &[key, value] : members())
    if (!read_.contains(key))
      fail("unknown field '" + key + "'");
  return status_;
}
