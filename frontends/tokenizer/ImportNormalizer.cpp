//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"
#include "Import.h"

#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::NormalizeStep;
using tokenizer::TokenizerData;

void frontend::addCommonSets(TokenizerData &data) { data.spaceSet = data.wordSet = internSet(whiteSpace(), data.sets); }

Result<tokenizer::Matcher> frontend::importPattern(const Component &component, TokenizerData &data) {
  Component pattern = component.at("pattern");
  if (pattern.find("String")) {
    tokenizer::Matcher matcher;
    LLMOPT_ASSIGN(matcher.text, pattern.string("String"));
    return matcher;
  }
  if (!pattern.find("Regex"))
    return component.wrong("pattern", "expected {\"String\": ...} or {\"Regex\": ...}");
  LLMOPT_ASSIGN(std::string expression, pattern.string("Regex"));
  Result<tokenizer::Matcher> matcher = compileExpression(expression, data.sets);
  if (!matcher) {
    Error error = matcher.error();
    error.message = pattern.path + ".Regex: " + error.message;
    error.context = pattern.file;
    return error;
  }
  return matcher;
}

static NormalizeStep stepOf(NormalizeStep::Op op) {
  NormalizeStep step;
  step.op = op;
  return step;
}

static NormalizeStep setStep(NormalizeStep::Op op, const CharRanges &set, TokenizerData &data) {
  NormalizeStep step = stepOf(op);
  step.set = internSet(set, data.sets);
  return step;
}

/// All characters of a set by a space.
static NormalizeStep spacesStep(const CharRanges &set) {
  NormalizeStep step = stepOf(NormalizeStep::Map);
  for (const CharRange &range : set)
    for (uint32_t c = range.first; c <= range.last; ++c)
      step.map.push_back({c, " "});
  return step;
}

static NormalizeStep lowercaseStep() {
  NormalizeStep step = stepOf(NormalizeStep::Map);
  step.map = lowercaseMap();
  return step;
}

static Status importBert(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(bool clean, component.boolean("clean_text"));
  LLMOPT_ASSIGN(bool chinese, component.boolean("handle_chinese_chars"));
  LLMOPT_ASSIGN(bool lowercase, component.boolean("lowercase"));
  LLMOPT_ASSIGN(bool strip, component.boolean("strip_accents", lowercase));
  if (clean) {
    data.normalize.push_back(setStep(NormalizeStep::Remove, controlChars(), data));
    data.normalize.push_back(spacesStep(whiteSpace()));
  }
  if (chinese)
    data.normalize.push_back(setStep(NormalizeStep::Surround, chineseChars(), data));
  if (strip) {
    data.normalize.push_back(setStep(NormalizeStep::Nfd, inertChars(), data));
    data.normalize.push_back(setStep(NormalizeStep::Remove, nonspacingMarks(), data));
  }
  if (lowercase)
    data.normalize.push_back(lowercaseStep());
  return {};
}

static Status importNmt(TokenizerData &data) {
  CharRanges removed = {{0x1, 0x8}, {0xB, 0xB}, {0xE, 0x1F}, {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}};
  CharRanges spaces = {{0x9, 0xA},       {0xC, 0xD},       {0x1680, 0x1680}, {0x200B, 0x200F},
                       {0x2028, 0x2029}, {0x2581, 0x2581}, {0xFEFF, 0xFEFF}, {0xFFFD, 0xFFFD}};
  data.normalize.push_back(setStep(NormalizeStep::Remove, removed, data));
  data.normalize.push_back(spacesStep(spaces));
  return {};
}

static std::optional<std::string> decodeBase64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0, count = 0;
  while (text.ends_with('='))
    text.remove_suffix(1);
  for (char c : text) {
    size_t digit = kDigits.find(c);
    if (digit == kDigits.npos)
      return std::nullopt;
    bits = bits << 6 | uint32_t(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += char(bits >> count & 255);
    }
  }
  return out;
}

static Status importPrecompiled(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string text, component.string("precompiled_charsmap"));
  std::optional<std::string> blob = decodeBase64(text);
  if (!blob)
    return component.wrong("precompiled_charsmap", "expected base64");
  NormalizeStep step = stepOf(NormalizeStep::Charsmap);
  step.text = std::move(*blob);
  data.normalize.push_back(std::move(step));
  return {};
}

static Status importStrip(const Component &component, TokenizerData &data) {
  NormalizeStep step = setStep(NormalizeStep::Strip, whiteSpace(), data);
  LLMOPT_ASSIGN(step.flag, component.boolean("strip_left"));
  LLMOPT_ASSIGN(step.flag2, component.boolean("strip_right"));
  data.normalize.push_back(std::move(step));
  return {};
}

static Status importReplace(const Component &component, TokenizerData &data) {
  NormalizeStep step = stepOf(NormalizeStep::Replace);
  LLMOPT_ASSIGN(step.text, component.string("content"));
  LLMOPT_ASSIGN(step.matcher, importPattern(component, data));
  data.normalize.push_back(std::move(step));
  return {};
}

Status frontend::importNormalizer(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string type, component.string("type"));
  if (type == "Sequence") {
    LLMOPT_ASSIGN(std::vector<Component> parts, component.list("normalizers"));
    for (const Component &part : parts)
      LLMOPT_RETURN_IF_ERROR(importNormalizer(part, data));
    return {};
  }
  if (type == "BertNormalizer" || type == "Bert")
    return importBert(component, data);
  if (type == "Nmt")
    return importNmt(data);
  if (type == "Precompiled")
    return importPrecompiled(component, data);
  if (type == "Strip")
    return importStrip(component, data);
  if (type == "Replace")
    return importReplace(component, data);
  NormalizeStep step;
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    bool compatibility = type.size() == 4, compose = type.back() == 'C';
    step = setStep(compatibility ? (compose ? NormalizeStep::Nfkc : NormalizeStep::Nfkd)
                                 : (compose ? NormalizeStep::Nfc : NormalizeStep::Nfd),
                   inertChars(), data);
  } else if (type == "StripAccents") {
    step = setStep(NormalizeStep::Remove, combiningMarks(), data);
  } else if (type == "Lowercase") {
    step = lowercaseStep();
  } else if (type == "Prepend") {
    step = stepOf(NormalizeStep::Prepend);
    LLMOPT_ASSIGN(step.text, component.string("prepend"));
  } else if (type == "ByteLevel") {
    step = stepOf(NormalizeStep::Bytes);
  } else {
    return component.missing("type");
  }
  data.normalize.push_back(std::move(step));
  return {};
}
