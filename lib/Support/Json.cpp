//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Json.h"

#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>
#include <nlohmann/json.hpp>

using namespace llmopt;

namespace {

constexpr size_t kMaxDepth = 64;
// 16 Mi values take about 0.7 GB as a tree; the largest tokenizer.json in use has about 2 Mi.
constexpr size_t kMaxValues = size_t(1) << 24;

/// Two equal keys of one object, if there are any.
const std::string *duplicateKey(const Json::Object &object) {
  std::vector<const std::string *> keys;
  keys.reserve(object.size());
  for (const Json::Member &member : object)
    keys.push_back(&member.first);
  auto less = [](const std::string *a, const std::string *b) { return *a < *b; };
  std::sort(keys.begin(), keys.end(), less);
  auto same = [](const std::string *a, const std::string *b) { return *a == *b; };
  auto it = std::adjacent_find(keys.begin(), keys.end(), same);
  return it == keys.end() ? nullptr : *it;
}

/// Passes nlohmann's events on.
class Adapter : public nlohmann::json_sax<nlohmann::json> {
public:
  Adapter(JsonHandler &handler, std::string_view context) : handler_(handler), context_(context) {}

  bool null() override { return pass(handler_.scalar(Json())); }
  bool boolean(bool v) override { return pass(handler_.scalar(Json(v))); }
  bool number_integer(number_integer_t v) override { return pass(handler_.scalar(Json(int64_t(v)))); }
  bool number_unsigned(number_unsigned_t v) override {
    return pass(handler_.scalar(v <= uint64_t(INT64_MAX) ? Json(int64_t(v)) : Json(double(v))));
  }
  bool number_float(number_float_t v, const string_t &) override { return pass(handler_.scalar(Json(double(v)))); }
  bool string(string_t &v) override { return pass(handler_.scalar(Json(std::move(v)))); }
  bool binary(binary_t &) override { return pass(badInput("E0111", "binary data in JSON", context_)); }
  bool key(string_t &v) override { return pass(handler_.key(std::move(v))); }
  bool start_object(size_t) override { return deeper() && pass(handler_.beginObject()); }
  bool start_array(size_t) override { return deeper() && pass(handler_.beginArray()); }
  bool end_object() override { return --depth_, pass(handler_.endObject()); }
  bool end_array() override { return --depth_, pass(handler_.endArray()); }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &error) override {
    std::string_view text = error.what();
    if (size_t bracket = text.find("] "); bracket != text.npos)
      text.remove_prefix(bracket + 2);
    return pass(
        badInput("E0111", "invalid JSON at byte " + std::to_string(position) + ": " + std::string(text), context_));
  }
  Status finish(bool complete) {
    return status_.ok() && !complete ? badInput("E0111", "invalid JSON", context_) : std::move(status_);
  }

private:
  bool pass(Status status) {
    status_ = std::move(status);
    return status_.ok();
  }
  bool deeper() {
    if (++depth_ <= kMaxDepth)
      return true;
    return pass(badInput("E0113", "JSON nesting exceeds " + std::to_string(kMaxDepth), context_));
  }

  JsonHandler &handler_;
  std::string context_;
  size_t depth_ = 0;
  Status status_;
};

Status checkEncoding(std::string_view text, std::string_view context) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF")
    return badInput("E0114", "JSON starts with a byte-order mark; save it as UTF-8 without one", std::string(context));
  if (size_t bad = findInvalidUtf8(text); bad != text.size())
    return badInput("E0114", "JSON is not UTF-8: invalid sequence at byte " + std::to_string(bad),
                    std::string(context));
  // The scanner below would take a NUL for the end of the text.
  if (size_t nul = text.find('\0'); nul != text.npos)
    return badInput("E0111", "invalid JSON at byte " + std::to_string(nul) + ": NUL character", std::string(context));
  return {};
}

} // namespace

Result<Json> Json::parse(std::string_view text, std::string_view context) {
  JsonTreeBuilder builder(context);
  LLMOPT_RETURN_IF_ERROR(parseJson(text, context, builder));
  return builder.take();
}

Status llmopt::parseJson(std::string_view text, std::string_view context, JsonHandler &handler) {
  LLMOPT_RETURN_IF_ERROR(checkEncoding(text, context));
  Adapter adapter(handler, context);
  return adapter.finish(nlohmann::json::sax_parse(text.begin(), text.end(), &adapter));
}

Status JsonTreeBuilder::scalar(Json value) {
  if (++values_ > kMaxValues)
    return limitExceeded("E0115", "JSON has more than " + std::to_string(kMaxValues) + " values", context_);
  if (open_.empty()) {
    root_ = std::move(value);
  } else if (open_.back().isArray()) {
    open_.back().push(std::move(value));
  } else {
    open_.back().asObject().emplace_back(std::move(keys_.back()), std::move(value));
    keys_.pop_back();
  }
  return {};
}

Status JsonTreeBuilder::key(std::string name) {
  keys_.push_back(std::move(name));
  return {};
}

Status JsonTreeBuilder::beginObject() {
  open_.push_back(Json(Json::Object()));
  return {};
}
Status JsonTreeBuilder::beginArray() {
  open_.push_back(Json(Json::Array()));
  return {};
}

Status JsonTreeBuilder::endObject() {
  if (const std::string *key = duplicateKey(open_.back().asObject()))
    return badInput("E0112", "duplicate key '" + *key + "' in a JSON object", context_);
  return close();
}
Status JsonTreeBuilder::endArray() { return close(); }

Status JsonTreeBuilder::close() {
  Json done = std::move(open_.back());
  open_.pop_back();
  return scalar(std::move(done));
}

const Json *Json::find(std::string_view key) const {
  if (!isObject())
    return nullptr;
  for (const Member &member : asObject())
    if (member.first == key)
      return &member.second;
  return nullptr;
}

Json &Json::set(std::string_view key, Json value) {
  if (isNull())
    value_ = Object();
  for (Member &member : asObject())
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  asObject().emplace_back(std::string(key), std::move(value));
  return *this;
}

Json &Json::push(Json value) {
  if (isNull())
    value_ = Array();
  asArray().push_back(std::move(value));
  return *this;
}
