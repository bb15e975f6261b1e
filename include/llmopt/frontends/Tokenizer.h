//===- Tokenizer.h - tokenizer files to one artifact section ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_H
#define LLMOPT_FRONTENDS_TOKENIZER_H

#include "llmopt/lib/Support/Status.h"

#include <optional>
#include <string>

namespace llmopt {

/// Reads the tokenizer of a Hugging Face folder: tokenizer.json, else tokenizer.model or spiece.model; with
/// tokenizer_config.json, special_tokens_map.json and added_tokens.json for the special tokens. Gives the bytes for
/// Tokenizer::load, or nothing when the folder has none of these files.
/// E1301 damaged or contradicting, E1302 component without support (the message names its JSON path), E1303 limits.
Result<std::optional<std::string>> importTokenizer(const std::string &folder);

/// One file alone: a tokenizer.json, or a SentencePiece model (any other name than *.json).
Result<std::string> importTokenizerFile(const std::string &path);

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_TOKENIZER_H
