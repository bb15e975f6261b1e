//===- FieldReader.h - reads the objects of a description -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_FIELDREADER_H
#define LLMOPT_FRONTENDS_HF_FIELDREADER_H

#include "Expression.h"

#include <map>
#include <optional>
#include <set>

namespace llmopt::hf {

/// Fields of one JSON object by name. Keeps the first mistake, so that a caller can read all fields and ask once;
/// a field that nobody read is a mistake too.
class FieldReader {
public:
  /// `mentioned` collects the names in all formulas read.
  FieldReader(const Json &object, std::string where, std::vector<std::string> &mentioned);

  const Json *find(const std::string &key);
  bool has(const std::string &key) const { return json_.find(key) != nullptr; }
  Expression formula(const std::string &key, const char *fallback = nullptr);
  std::string text(const std::string &key, const char *fallback = nullptr);
  bool flag(const std::string &key);
  std::vector<std::string> texts(const std::string &key);
  std::map<std::string, std::string> textMap(const std::string &key);
  FieldReader object(const std::string &key);
  /// Members of this object, for objects whose keys are the author's.
  const Json::Object &members() const;

  void fail(const std::string &problem);
  void absorb(const Status &status) {
    if (status_.ok())
      status_ = status;
  }
  /// The first mistake, or an unread field.
  Status finish();
  const std::string &where() const { return where_; }
  std::vector<std::string> &mentioned() { return mentioned_; }

private:
  const Json json_;
  std::string where_;
  std::vector<std::string> &mentioned_;
  std::set<std::string> read_;
  Status status_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_FIELDREADER_H
