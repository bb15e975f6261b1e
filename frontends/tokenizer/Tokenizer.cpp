//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/frontends/Tokenizer.h"

#include "Import.h"

#include <filesystem>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::TokenizerData;

static bool exists(const std::string &path) {
  std::error_code none;
  return std::filesystem::exists(path, none);
}

/// Exactly what the runtime will check, so that a section it refuses is never written.
static Result<std::string> finish(const TokenizerData &data, const std::string &path) {
  std::string section = tokenizer::serialize(data);
  Result<TokenizerData> read = tokenizer::deserialize(std::as_bytes(std::span(section.data(), section.size())));
  if (read)
    return section;
  Error error = read.error();
  error.code = "E1301";
  error.context = path;
  return error;
}

Result<std::optional<std::string>> llmopt::importTokenizer(const std::string &folder) {
  std::string json = folder + "/tokenizer.json";
  bool hasJson = exists(json);
  std::string pieces;
  for (const char *name : {"tokenizer.model", "spiece.model"})
    if (pieces.empty() && exists(folder + "/" + name))
      pieces = folder + "/" + name;
  if (!hasJson && pieces.empty())
    return std::optional<std::string>();
  LLMOPT_ASSIGN(TokenizerData data, hasJson ? importTokenizerJson(json) : importSentencePiece(pieces));
  LLMOPT_RETURN_IF_ERROR(applyFolderConfig(folder, !hasJson, data));
  LLMOPT_ASSIGN(std::string section, finish(data, hasJson ? json : pieces));
  return std::optional(std::move(section));
}

Result<std::string> llmopt::importTokenizerFile(const std::string &path) {
  LLMOPT_ASSIGN(TokenizerData data, path.ends_with(".json") ? importTokenizerJson(path) : importSentencePiece(path));
  return finish(data, path);
}
