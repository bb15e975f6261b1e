//===- Import.h - the components of a tokenizer.json to steps -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_IMPORT_H
#define LLMOPT_FRONTENDS_TOKENIZER_IMPORT_H

#include "TokenizerFile.h"
#include "UnicodeClasses.h"
#include "llmopt/lib/Support/TokenizerData.h"

#include <string>
#include <unordered_map>

namespace llmopt::frontend {

/// Sets that added tokens need; every TokenizerData begins with them.
void addCommonSets(tokenizer::TokenizerData &data);

// Each takes one component apart into steps at the end of those in `data`. Components may hold lists of others, so
// these call themselves; the depth of the JSON bounds that.
Status importNormalizer(const Component &component, tokenizer::TokenizerData &data);
Status importPreTokenizer(const Component &component, tokenizer::TokenizerData &data);
Status importDecoder(const Component &component, tokenizer::TokenizerData &data);
Status importPostProcessor(const Component &component, tokenizer::TokenizerData &data);
Status importModel(const Component &component, const TokenizerFile &file, tokenizer::Model &model);
Status importAddedTokens(const Component &root, tokenizer::TokenizerData &data);

/// {"String": "..."} or {"Regex": "..."} under "pattern".
Result<tokenizer::Matcher> importPattern(const Component &component, tokenizer::TokenizerData &data);

/// Ids of texts, for vocabularies in files.
using PieceIds = std::unordered_map<std::string_view, int32_t>;
PieceIds pieceIds(const tokenizer::Model &model);

/// Where a token that is not a piece gets its id: behind all others.
int32_t nextFreeId(const tokenizer::TokenizerData &data);

Result<tokenizer::TokenizerData> importTokenizerJson(const std::string &path);
Result<tokenizer::TokenizerData> importSentencePiece(const std::string &path);

/// What tokenizer_config.json and its companions in the folder add. `fromPieces`: the data comes from a SentencePiece
/// model, which knows no added tokens itself.
Status applyFolderConfig(const std::string &folder, bool fromPieces, tokenizer::TokenizerData &data);

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_IMPORT_H
