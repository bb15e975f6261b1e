//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerFile.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/TokenizerData.h"
#include "llmopt/lib/Support/Utf8.h"

#include <utility>

using namespace llmopt;
using namespace llmopt::frontend;

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t(256) << 20;

class Reader final : public JsonHandler {
public:
  explicit Reader(TokenizerFile &file) : file_(file), tree_(file.path) {}
  Json takeTree() { return tree_.take(); }

  Status scalar(Json value) override {
    if (part_ == Tree)
      return tree_.scalar(std::move(value));
    switch (part_) {
    case VocabMap:
      return mapEntry(value);
    case VocabList:
      return listEntry(value);
    default:
      return mergeEntry(value);
    }
  }

  Status key(std::string name) override {
    if (part_ != Tree) {
      if (part_ != VocabMap || depth_ != 3)
        return wrongVocab();
      file_.pieces.add(name);
      return {};
    }
    if (depth_ == 1)
      section_ = name;
    else if (depth_ == 2)
      entry_ = name;
    return tree_.key(std::move(name));
  }

  Status beginObject() override {
    ++depth_;
    if (part_ != Tree)
      return wrongVocab();
    if (startsPart("vocab")) {
      part_ = VocabMap;
      file_.hasVocab = true;
      return tree_.scalar(nullptr);
    }
    return tree_.beginObject();
  }

  Status beginArray() override {
    ++depth_;
    column_ = 0;
    if (part_ != Tree)
      return part_ != VocabMap && depth_ == 4 ? Status() : wrongVocab();
    if (startsPart("vocab")) {
      part_ = VocabList;
      file_.hasVocab = true;
      return tree_.scalar(nullptr);
    }
    if (startsPart("merges")) {
      part_ = Merges;
      file_.hasMerges = true;
      return tree_.scalar(nullptr);
    }
    return tree_.beginArray();
  }

  Status endObject() override {
    --depth_;
    if (part_ == Tree)
      return tree_.endObject();
    part_ = Tree;
    return {};
  }

  Status endArray() override {
    --depth_;
    if (part_ == Tree)
      return tree_.endArray();
    if (depth_ == 3 && column_ != 2)
      return wrongVocab();
    if (depth_ == 2)
      part_ = Tree;
    return {};
  }

private:
  enum Part { Tree, VocabMap, VocabList, Merges };

  bool startsPart(std::string_view name) const { return depth_ == 3 && section_ == "model" && entry_ == name; }

  Status wrongVocab() const {
    if (part_ == Merges)
      return badInput("E1301",
                      "model.merges[" + std::to_string(file_.merges.size() / 2) +
                          "]: expected \"left right\" or [\"left\", \"right\"]",
                      file_.path);
    return badInput("E1301",
                    "model.vocab, entry " + std::to_string(file_.pieces.size()) +
                        ": expected a map of pieces to ids, or a list of [\"piece\", score]",
                    file_.path);
  }

  Status mapEntry(const Json &value) {
    std::string_view piece = file_.pieces[file_.pieces.size() - 1];
    if (!value.isInt() || value.asInt() < 0 || value.asInt() >= int64_t(tokenizer::kMaxPieces))
      return badInput("E1301",
                      "model.vocab: the id of '" + std::string(piece) + "' is " + value.str() +
                          "; expected an integer from 0 to " + std::to_string(tokenizer::kMaxPieces - 1),
                      file_.path);
    file_.ids.push_back(value.asInt());
    return {};
  }

  Status listEntry(const Json &value) {
    bool isPiece = column_ == 0 && value.isString(), isScore = column_ == 1 && value.isNumber();
    if (depth_ != 4 || (!isPiece && !isScore))
      return wrongVocab();
    ++column_;
    if (isPiece)
      file_.pieces.add(value.asString());
    else
      file_.scores.push_back(value.asDouble());
    return {};
  }

  Status mergeEntry(const Json &value) {
    if (!value.isString())
      return wrongVocab();
    const std::string &text = value.asString();
    if (depth_ == 4) {
      ++column_;
      file_.merges.add(text);
      return {};
    }
    if (text.starts_with("#version"))
      return {};
    size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos)
      return wrongVocab();
    file_.merges.add(std::string_view(text).substr(0, space));
    file_.merges.add(std::string_view(text).substr(space + 1));
    return {};
  }

  TokenizerFile &file_;
  JsonTreeBuilder tree_;
  Part part_ = Tree;
  int depth_ = 0, column_ = 0;
  std::string section_, entry_; ///< keys of depth 1 and 2
};

} // namespace

Result<TokenizerFile> frontend::readTokenizerFile(const std::string &path) {
  LLMOPT_ASSIGN(MappedFile mapped, MappedFile::open(path));
  if (mapped.text().size() > kMaxFileBytes)
    return badInput("E1303",
                    "file has " + std::to_string(mapped.text().size()) + " bytes; the limit is " +
                        std::to_string(kMaxFileBytes),
                    path);
  TokenizerFile file;
  file.path = path;
  Reader reader(file);
  LLMOPT_RETURN_IF_ERROR(parseJson(mapped.text(), path, reader));
  file.root = reader.takeTree();
  if (!file.root.isObject())
    return badInput("E1301", "expected an object at the top", path);
  return file;
}

static std::string join(const std::string &path, std::string_view key) {
  return path.empty() ? std::string(key) : key.empty() ? path : path + '.' + std::string(key);
}

Status Component::wrong(std::string_view key, std::string what) const {
  return badInput("E1301", join(path, key) + ": " + std::move(what), file);
}

Status Component::missing(std::string_view key) const {
  const Json *value = find(key);
  return unsupported("E1302", join(path, key) + ": " + (value ? value->str() : "null") + " is not supported", file);
}

const Json *Component::find(std::string_view key) const {
  const Json *value = json ? json->find(key) : nullptr;
  return value && !value->isNull() ? value : nullptr;
}

Result<std::string> Component::string(std::string_view key, std::optional<std::string> otherwise) const {
  const Json *value = find(key);
  if (!value && otherwise)
    return *otherwise;
  if (!value || !value->isString())
    return wrong(key, "expected a string");
  return value->asString();
}

Result<bool> Component::boolean(std::string_view key, std::optional<bool> otherwise) const {
  const Json *value = find(key);
  if (!value && otherwise)
    return *otherwise;
  if (!value || !value->isBool())
    return wrong(key, "expected true or false");
  return value->asBool();
}

Result<int64_t> Component::integer(std::string_view key, int64_t low, int64_t high,
                                   std::optional<int64_t> otherwise) const {
  const Json *value = find(key);
  if (!value && otherwise)
    return *otherwise;
  if (!value || !value->isInt() || value->asInt() < low || value->asInt() > high)
    return wrong(key, "expected an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return value->asInt();
}

Result<std::string> Component::character(std::string_view key) const {
  LLMOPT_ASSIGN(std::string text, string(key));
  if (text.empty() || decodeUtf8(text).length != text.size())
    return wrong(key, "expected a single character");
  return text;
}

Result<std::vector<Component>> Component::list(std::string_view key) const {
  const Json *value = find(key);
  if (!value || !value->isArray())
    return wrong(key, "expected a list");
  std::vector<Component> components;
  for (const Json &element : value->asArray()) {
    std::string place = join(path, key) + '[' + std::to_string(components.size()) + ']';
    if (!element.isObject())
      return badInput("E1301", place + ": expected an object", file);
    components.push_back({&element, place, file});
  }
  return components;
}
