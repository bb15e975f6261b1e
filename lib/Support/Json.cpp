//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Json.h"

#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
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

/// Builds the tree from nlohmann's events. Open containers are kept by value, so that no address has to stay valid.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
public:
  explicit TreeBuilder(std::string_view context) : context_(context) {}

  bool null() override { return value(Json()); }
  bool boolean(bool v) override { return value(Json(v)); }
  bool number_integer(number_integer_t v) override { return value(Json(int64_t(v))); }
  bool number_unsigned(number_unsigned_t v) override {
    return value(v <= uint64_t(INT64_MAX) ? Json(int64_t(v)) : Json(double(v)));
  }
  bool number_float(number_float_t v, const string_t &) override { return value(Json(double(v))); }
  bool string(string_t &v) override { return value(Json(std::move(v))); }
  bool binary(binary_t &) override { return fail(badInput("E0111", "binary data in JSON", context_)); }
  bool start_object(size_t) override { return open(Json(Json::Object())); }
  bool start_array(size_t) override { return open(Json(Json::Array())); }
  bool key(string_t &v) override {
    keys_.push_back(std::move(v));
    return true;
  }
  bool end_object() override {
    if (const std::string *key = duplicateKey(open_.back().asObject()))
      return fail(badInput("E0112", "duplicate key '" + *key + "' in a JSON object", context_));
    return close();
  }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &error) override {
    std::string_view text = error.what();
    if (size_t bracket = text.find("] "); bracket != text.npos)
      text.remove_prefix(bracket + 2);
    return fail(badInput("E0111", "invalid JSON at byte " + std::to_string(position) + ": " + std::string(text), context_));
  }

  Result<Json> finish(bool complete) {
    if (!status_.ok())
      return status_;
    if (!complete)
      return badInput("E0111", "invalid JSON", context_);
    return std::move(root_);
  }

private:
  bool fail(Status status) {
    status_ = std::move(status);
    return false;
  }
  bool open(Json container) {
    if (open_.size() == kMaxDepth)
      return fail(badInput("E0113", "JSON nesting exceeds " + std::to_string(kMaxDepth), context_));
    open_.push_back(std::move(container));
    return true;
  }
  bool close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    return value(std::move(done));
  }
  bool value(Json v) {
    if (++values_ > kMaxValues)
      return fail(limitExceeded("E0115", "JSON has more than " + std::to_string(kMaxValues) + " values", context_));
    if (open_.empty()) {
      root_ = std::move(v);
    } else if (open_.back().isArray()) {
      open_.back().asArray().push_back(std::move(v));
    } else {
      open_.back().asObject().emplace_back(std::move(keys_.back()), std::move(v));
      keys_.pop_back();
    }
    return true;
  }

  std::string context_;
  Json root_;
  std::vector<Json> open_;
  std::vector<std::string> keys_; ///< of members whose value is not complete yet
  size_t values_ = 0;
  Status status_;
};

Status checkEncoding(std::string_view text, std::string_view context) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF")
    return badInput("E0114", "JSON starts with a byte-order mark; save it as UTF-8 without one", std::string(context));
  if (size_t bad = findInvalidUtf8(text); bad != text.size())
    return badInput("E0114", "JSON is not UTF-8: invalid sequence at byte " + std::to_string(bad), std::string(context));
  // The scanner below would take a NUL for the end of the text.
  if (size_t nul = text.find('\0'); nul != text.npos)
    return badInput("E0111", "invalid JSON at byte " + std::to_string(nul) + ": NUL character", std::string(context));
  return {};
}

void writeString(std::string &out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (uint8_t(c) < 0x20) {
      out += "\\u00";
      out += "0123456789abcdef"[uint8_t(c) >> 4];
      out += "0123456789abcdef"[uint8_t(c) & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// The shortest text that reads back as the same double. JSON has no NaN and no infinity: null.
void writeDouble(std::string &out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string_view text(buffer, size_t(end - buffer));
  out += text;
  if (text.find_first_of(".e") == text.npos)
    out += ".0";
}

void newLine(std::string &out, int indent, int depth) {
  if (indent < 0)
    return;
  out += '\n';
  out.append(size_t(indent) * size_t(depth), ' ');
}

void write(std::string &out, const Json &value, int indent, int depth) {
  const std::string_view separator = indent < 0 ? ", " : ",";
  switch (value.kind()) {
  case Json::Kind::Null:
    out += "null";
    return;
  case Json::Kind::Bool:
    out += value.asBool() ? "true" : "false";
    return;
  case Json::Kind::Int:
    out += std::to_string(value.asInt());
    return;
  case Json::Kind::Double:
    return writeDouble(out, value.asDouble());
  case Json::Kind::String:
    return writeString(out, value.asString());
  case Json::Kind::Array:
    out += '[';
    for (size_t i = 0; i < value.asArray().size(); ++i) {
      out += i ? separator : "";
      newLine(out, indent, depth + 1);
      write(out, value.asArray()[i], indent, depth + 1);
    }
    if (!value.asArray().empty())
      newLine(out, indent, depth);
    out += ']';
    return;
  case Json::Kind::Object:
    out += '{';
    for (size_t i = 0; i < value.asObject().size(); ++i) {
      out += i ? separator : "";
      newLine(out, indent, depth + 1);
      writeString(out, value.asObject()[i].first);
      out += ": ";
      write(out, value.asObject()[i].second, indent, depth + 1);
    }
    if (!value.asObject().empty())
      newLine(out, indent, depth);
    out += '}';
    return;
  }
}

} // namespace

Result<Json> Json::parse(std::string_view text, std::string_view context) {
  LLMOPT_RETURN_IF_ERROR(checkEncoding(text, context));
  TreeBuilder builder(context);
  bool complete = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.finish(complete);
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

std::string Json::str(int indent) const {
  std::string out;
  write(out, *this, indent, 0);
  return out;
}
