//===- Json.h - strict JSON for files nobody has checked yet ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small document tree. The parser (nlohmann's SAX inside) refuses what hides mistakes or attacks: duplicate
// keys, nesting over 64, non-UTF-8, trailing text, a byte-order mark. Numbers keep whether they were integers.
// Objects keep the order of the file.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_JSON_H
#define LLMOPT_LIB_SUPPORT_JSON_H

#include "llmopt/lib/Support/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace llmopt {

class Json {
public:
  enum class Kind { Null, Bool, Int, Double, String, Array, Object };
  using Array = std::vector<Json>;
  /// Keys in file order; lookup by `find`.
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t(value)) {}
  Json(unsigned value) : value_(int64_t(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(int64_t(value)) {}
  Json(double value) : value_(value) {}
  Json(const char *value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  /// `context` names the file in errors. Codes: E0111 syntax, E0112 duplicate key, E0113 depth, E0114 encoding.
  static Result<Json> parse(std::string_view text, std::string_view context);

  Kind kind() const { return Kind(value_.index()); }
  bool isNull() const { return kind() == Kind::Null; }
  bool isBool() const { return kind() == Kind::Bool; }
  bool isInt() const { return kind() == Kind::Int; }
  bool isNumber() const { return kind() == Kind::Int || kind() == Kind::Double; }
  bool isString() const { return kind() == Kind::String; }
  bool isArray() const { return kind() == Kind::Array; }
  bool isObject() const { return kind() == Kind::Object; }

  // The caller has asked for the kind before.
  bool asBool() const { return std::get<bool>(value_); }
  int64_t asInt() const { return std::get<int64_t>(value_); }
  double asDouble() const { return isInt() ? double(asInt()) : std::get<double>(value_); }
  const std::string &asString() const { return std::get<std::string>(value_); }
  const Array &asArray() const { return std::get<Array>(value_); }
  Array &asArray() { return std::get<Array>(value_); }
  const Object &asObject() const { return std::get<Object>(value_); }
  Object &asObject() { return std::get<Object>(value_); }

  /// The member, or nullptr if this is no object or has no such key.
  const Json *find(std::string_view key) const;
  /// Sets or appends a member; this becomes an object if it was null.
  Json &set(std::string_view key, Json value);
  /// Appends an element; this becomes an array if it was null.
  Json &push(Json value);

  /// indent < 0: one line.
  std::string str(int indent = -1) const;

private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

/// Takes a document as it is read, for files whose tree would be many times their size. An error ends the reading.
/// Strings are scalars too.
class JsonHandler {
public:
  virtual ~JsonHandler() = default;
  virtual Status scalar(Json value) = 0;
  virtual Status key(std::string name) = 0;
  virtual Status beginObject() = 0;
  virtual Status endObject() = 0;
  virtual Status beginArray() = 0;
  virtual Status endArray() = 0;
};

/// As Json::parse, except that finding duplicate keys is the handler's business.
Status parseJson(std::string_view text, std::string_view context, JsonHandler &handler);

/// The handler that makes the tree. E0112 duplicate key, E0115 more values than memory should go to.
class JsonTreeBuilder : public JsonHandler {
public:
  explicit JsonTreeBuilder(std::string_view context) : context_(context) {}
  Status scalar(Json value) override;
  Status key(std::string name) override;
  Status beginObject() override;
  Status endObject() override;
  Status beginArray() override;
  Status endArray() override;
  Json take() { return std::move(root_); }

private:
  Status close();
  std::string context_;
  Json root_;
  std::vector<Json> open_;        ///< by value, so that no address has to stay valid
  std::vector<std::string> keys_; ///< of members whose value is not complete yet
  size_t values_ = 0;
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_JSON_H
