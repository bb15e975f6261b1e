//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// What the files beside the tokenizer say about special tokens, as the Hugging Face libraries read them. With a
// tokenizer.json they add little; with a SentencePiece model they are all there is.

#include "Expression.h"
#include "Import.h"

#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <tuple>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::AddedToken;
using tokenizer::TokenizerData;

static constexpr uint64_t kMaxConfigBytes = uint64_t(16) << 20;

namespace {

class FolderConfig {
public:
  FolderConfig(const std::string &folder, bool fromPieces, TokenizerData &data)
      : folder_(folder), fromPieces_(fromPieces), data_(data) {}

  Status apply() {
    LLMOPT_ASSIGN(config_, readObject("tokenizer_config.json"));
    LLMOPT_ASSIGN(map_, readObject("special_tokens_map.json"));
    LLMOPT_ASSIGN(added_, readObject("added_tokens.json"));
    root_ = {&config_, "", folder_ + "/tokenizer_config.json"};
    LLMOPT_RETURN_IF_ERROR(addListed());
    LLMOPT_RETURN_IF_ERROR(addNamed());
    LLMOPT_RETURN_IF_ERROR(fromPieces_ ? pieceLayout() : jsonLayout());
    // On unless the file says no: so it was when most of these files were written.
    LLMOPT_ASSIGN(bool cleanUp, root_.boolean("clean_up_tokenization_spaces", config_.isObject()));
    if (cleanUp) {
      data_.decode.emplace_back();
      data_.decode.back().op = tokenizer::DecodeStep::CleanUp;
    }
    for (const AddedToken &token : data_.added)
      if (token.singleWord && data_.wordSet == data_.spaceSet)
        data_.wordSet = internSet(wordChars(), data_.sets);
    return {};
  }

private:
  /// Null when there is no such file.
  Result<Json> readObject(const std::string &name) {
    std::string path = folder_ + "/" + name;
    std::error_code none;
    if (!std::filesystem::exists(path, none))
      return Json();
    LLMOPT_ASSIGN(std::string text, readTextFile(path, kMaxConfigBytes));
    LLMOPT_ASSIGN(Json json, Json::parse(text, path));
    if (!json.isObject())
      return badInput("E1301", "expected an object at the top", path);
    return json;
  }

  int32_t findAdded(std::string_view content) const {
    for (const AddedToken &token : data_.added)
      if (token.content == content)
        return token.id;
    return -1;
  }
  int32_t findPiece(std::string_view content) {
    if (ids_.empty())
      ids_ = pieceIds(data_.model);
    auto it = ids_.find(content);
    return it == ids_.end() ? -1 : it->second;
  }
  int32_t find(std::string_view content) {
    int32_t id = findAdded(content);
    return id >= 0 ? id : findPiece(content);
  }

  Status add(AddedToken token, const Component &place) {
    if (token.content.empty() || token.content.size() > tokenizer::kMaxAddedTokenBytes)
      return place.wrong("content",
                         "an added token has 1 to " + std::to_string(tokenizer::kMaxAddedTokenBytes) + " bytes");
    if (findAdded(token.content) >= 0)
      return {};
    if (token.id < 0 || !fromPieces_) {
      int32_t piece = findPiece(token.content);
      token.id = piece >= 0 ? piece : nextFreeId(data_);
    }
    data_.added.push_back(std::move(token));
    return {};
  }

  /// added_tokens_decoder, and the older added_tokens.json.
  Status addListed() {
    std::vector<AddedToken> tokens;
    Component decoder = root_.at("added_tokens_decoder");
    if (decoder.json && decoder.json->isObject())
      for (const Json::Member &member : decoder.json->asObject()) {
        LLMOPT_ASSIGN(AddedToken token, listedToken(decoder.at(member.first), member.first));
        tokens.push_back(std::move(token));
      }
    if (added_.isObject())
      for (const Json::Member &member : added_.asObject()) {
        Component place{&added_, "", folder_ + "/added_tokens.json"};
        LLMOPT_ASSIGN(int64_t id, place.integer(member.first, 0, int64_t(tokenizer::kMaxPieces) - 1));
        tokens.push_back({member.first, int32_t(id)});
      }
    auto byId = [](const AddedToken &a, const AddedToken &b) {
      return std::tie(a.id, a.content) < std::tie(b.id, b.content);
    };
    std::sort(tokens.begin(), tokens.end(), byId);
    for (AddedToken &token : tokens)
      LLMOPT_RETURN_IF_ERROR(add(std::move(token), decoder));
    return {};
  }

  Result<AddedToken> listedToken(const Component &place, const std::string &id) {
    AddedToken token;
    auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), token.id);
    if (error != std::errc() || end != id.data() + id.size() || token.id < 0 ||
        size_t(token.id) >= tokenizer::kMaxPieces)
      return place.wrong("", "expected a token id as the key");
    LLMOPT_ASSIGN(token.content, place.string("content"));
    LLMOPT_ASSIGN(token.special, place.boolean("special", false));
    LLMOPT_ASSIGN(token.normalized, place.boolean("normalized", !token.special));
    LLMOPT_ASSIGN(token.singleWord, place.boolean("single_word", false));
    LLMOPT_ASSIGN(token.leftStrip, place.boolean("lstrip", false));
    LLMOPT_ASSIGN(token.rightStrip, place.boolean("rstrip", false));
    return token;
  }

  /// The text of a special token: a string, or an object with a "content".
  std::string named(std::string_view key) const {
    for (const Json *json : {&config_, &map_})
      if (const Json *value = json->find(key)) {
        const Json *content = value->isObject() ? value->find("content") : value;
        if (content && content->isString())
          return content->asString();
      }
    return {};
  }

  Status addNamed() {
    constexpr std::array<std::string_view, 7> kKeys = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                       "pad_token", "cls_token", "mask_token"};
    std::vector<std::string> contents;
    for (std::string_view key : kKeys)
      contents.push_back(named(key));
    for (const Json *json : {&config_, &map_})
      if (const Json *list = json->find("additional_special_tokens"); list && list->isArray())
        for (const Json &entry : list->asArray())
          if (const Json *content = entry.isObject() ? entry.find("content") : &entry; content && content->isString())
            contents.push_back(content->asString());
    for (std::string &content : contents)
      if (!content.empty())
        LLMOPT_RETURN_IF_ERROR(add({std::move(content), -1, true}, root_));
    auto set = [&](int32_t &id, std::string_view key) {
      if (std::string content = named(key); !content.empty())
        id = find(content);
    };
    set(data_.bosId, "bos_token");
    set(data_.eosId, "eos_token");
    set(data_.unkId, "unk_token");
    set(data_.padId, "pad_token");
    return {};
  }

  static bool isOneOf(std::string_view name, std::initializer_list<std::string_view> fronts) {
    return std::any_of(fronts.begin(), fronts.end(), [&](std::string_view front) { return name.starts_with(front); });
  }

  Status setLayout(bool bos, bool eos) {
    if ((bos && data_.bosId < 0) || (eos && data_.eosId < 0))
      return root_.wrong(bos && data_.bosId < 0 ? "bos_token" : "eos_token",
                         "no such token, but it is to be added to every text");
    data_.layout.clear();
    if (bos)
      data_.layout.push_back({false, {data_.bosId}});
    data_.layout.push_back({true, {}});
    if (eos)
      data_.layout.push_back({false, {data_.eosId}});
    return {};
  }

  /// These classes write the post-processor anew from their two flags.
  Status jsonLayout() {
    LLMOPT_ASSIGN(std::string name, root_.string("tokenizer_class", ""));
    bool given = root_.find("add_bos_token") || root_.find("add_eos_token");
    if (!given || !isOneOf(name, {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer"}))
      return {};
    LLMOPT_ASSIGN(bool bos, root_.boolean("add_bos_token", true));
    LLMOPT_ASSIGN(bool eos, root_.boolean("add_eos_token", false));
    return setLayout(bos, eos);
  }

  Status pieceLayout() {
    LLMOPT_ASSIGN(std::string name, root_.string("tokenizer_class", ""));
    bool isT5 = isOneOf(name, {"T5Tokenizer", "MT5Tokenizer"});
    // Other classes renumber the pieces, or split the text before; only their tokenizer.json says how.
    if (!name.empty() && !isT5 &&
        !isOneOf(name, {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizer"}))
      return unsupported("E1302", "tokenizer_class: '" + name + "' needs a tokenizer.json; save one with AutoTokenizer",
                         root_.file);
    LLMOPT_ASSIGN(bool legacy, root_.boolean("legacy", true));
    data_.spaces.prefixOnlyAtStart = !legacy;
    LLMOPT_ASSIGN(bool bos, root_.boolean("add_bos_token", !isT5 && data_.bosId >= 0));
    LLMOPT_ASSIGN(bool eos, root_.boolean("add_eos_token", isT5));
    return setLayout(bos, eos);
  }

  const std::string &folder_;
  bool fromPieces_;
  TokenizerData &data_;
  Json config_, map_, added_;
  Component root_;
  PieceIds ids_;
};

} // namespace

Status frontend::applyFolderConfig(const std::string &folder, bool fromPieces, TokenizerData &data) {
  return FolderConfig(folder, fromPieces, data).apply();
}
