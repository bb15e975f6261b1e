//===- TokenizerFile.h - reading a tokenizer.json -------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Vocabulary and merges are nearly all of the file; they go into lists as they are read. The rest becomes a tree.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_TOKENIZERFILE_H
#define LLMOPT_FRONTENDS_TOKENIZER_TOKENIZERFILE_H

#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::frontend {

/// Many strings in one.
struct StringList {
  std::string blob;
  std::vector<uint32_t> ends;

  size_t size() const { return ends.size(); }
  void add(std::string_view text) {
    blob += text;
    ends.push_back(uint32_t(blob.size()));
  }
  std::string_view operator[](size_t i) const {
    uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(blob).substr(begin, ends[i] - begin);
  }
};

struct TokenizerFile {
  std::string path; ///< for messages
  Json root;        ///< without model.vocab and model.merges
  bool hasVocab = false, hasMerges = false;
  StringList pieces;
  std::vector<int64_t> ids;   ///< of the pieces, when the vocabulary maps pieces to ids
  std::vector<double> scores; ///< of the pieces, when it lists pieces with scores
  StringList merges;          ///< left, right, left, right, ...
};

Result<TokenizerFile> readTokenizerFile(const std::string &path);

/// A component of the file and where it stands ("pre_tokenizer.pretokenizers[1]"). Getters fail with E1301 and the
/// place of what they miss.
struct Component {
  const Json *json;
  std::string path, file;

  Status wrong(std::string_view key, std::string what) const;
  /// E1302: the value of `key` names something without support.
  Status missing(std::string_view key) const;
  /// Null and absent are the same to the formats.
  const Json *find(std::string_view key) const;
  Result<std::string> string(std::string_view key, std::optional<std::string> otherwise = std::nullopt) const;
  Result<bool> boolean(std::string_view key, std::optional<bool> otherwise = std::nullopt) const;
  Result<int64_t> integer(std::string_view key, int64_t low, int64_t high,
                          std::optional<int64_t> otherwise = std::nullopt) const;
  /// A string of exactly one character.
  Result<std::string> character(std::string_view key) const;
  /// The elements of an array of objects.
  Result<std::vector<Component>> list(std::string_view key) const;
  Component at(std::string_view key) const {
    return {find(key), path.empty() ? std::string(key) : path + '.' + std::string(key), file};
  }
};

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_TOKENIZERFILE_H
