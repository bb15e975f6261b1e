//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Import.h"

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::TemplateItem;
using tokenizer::TokenizerData;

static constexpr int64_t kMaxId = int64_t(tokenizer::kMaxPieces) - 1;

/// ["[SEP]", 102]
static Result<TemplateItem> importPair(const Component &component, std::string_view key) {
  const Json *pair = component.find(key);
  if (!pair || !pair->isArray() || pair->asArray().size() != 2 || !pair->asArray()[1].isInt() ||
      pair->asArray()[1].asInt() < 0 || pair->asArray()[1].asInt() > kMaxId)
    return component.wrong(key, "expected [\"token\", id]");
  return TemplateItem{false, {int32_t(pair->asArray()[1].asInt())}};
}

static Result<TemplateItem> importSpecial(const Component &piece, const Component &specials) {
  LLMOPT_ASSIGN(std::string name, piece.string("id"));
  Component special = specials.at(name);
  const Json *ids = special.find("ids");
  if (!ids || !ids->isArray())
    return piece.wrong("id", "'" + name + "' is not in special_tokens");
  TemplateItem item;
  for (const Json &id : ids->asArray()) {
    if (!id.isInt() || id.asInt() < 0 || id.asInt() > kMaxId)
      return special.wrong("ids", "expected ids of tokens");
    item.ids.push_back(int32_t(id.asInt()));
  }
  return item;
}

static Status importTemplate(const Component &component, std::vector<TemplateItem> &layout) {
  LLMOPT_ASSIGN(std::vector<Component> pieces, component.list("single"));
  for (const Component &piece : pieces) {
    if (Component sequence = piece.at("Sequence"); sequence.json) {
      LLMOPT_ASSIGN(std::string id, sequence.string("id"));
      if (id != "A")
        return sequence.wrong("id", "a single text is always \"A\"");
      layout.push_back({true, {}});
    } else if (Component special = piece.at("SpecialToken"); special.json) {
      LLMOPT_ASSIGN(TemplateItem item, importSpecial(special, component.at("special_tokens")));
      layout.push_back(std::move(item));
    } else {
      return piece.wrong("", "expected a Sequence or a SpecialToken");
    }
  }
  return {};
}

/// Puts `outer` around what `layout` says already.
static void surround(std::vector<TemplateItem> outer, std::vector<TemplateItem> &layout) {
  std::vector<TemplateItem> result;
  for (TemplateItem &item : outer)
    if (item.isText && !layout.empty())
      result.insert(result.end(), layout.begin(), layout.end());
    else
      result.push_back(std::move(item));
  layout = std::move(result);
}

static Status importSequence(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::vector<Component> parts, component.list("processors"));
  for (const Component &part : parts) {
    bool hadTemplate = data.layout.size() > 1;
    LLMOPT_RETURN_IF_ERROR(importPostProcessor(part, data));
    LLMOPT_ASSIGN(std::string type, part.string("type"));
    // The library hands each piece of a template to the next processor as a text of its own; nobody means that.
    if (hadTemplate && type != "ByteLevel")
      return part.missing("type");
  }
  return {};
}

Status frontend::importPostProcessor(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string type, component.string("type"));
  if (type == "ByteLevel") // only moves offsets
    return {};
  if (type == "Sequence")
    return importSequence(component, data);
  std::vector<TemplateItem> outer;
  if (type == "TemplateProcessing") {
    LLMOPT_RETURN_IF_ERROR(importTemplate(component, outer));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    LLMOPT_ASSIGN(TemplateItem begin, importPair(component, "cls"));
    LLMOPT_ASSIGN(TemplateItem end, importPair(component, "sep"));
    outer = {std::move(begin), {true, {}}, std::move(end)};
  } else {
    return component.missing("type");
  }
  surround(std::move(outer), data.layout);
  return {};
}
