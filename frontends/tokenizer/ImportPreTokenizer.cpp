//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"
#include "Import.h"

#include <array>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::PreTokenizeStep;
using tokenizer::SplitBehavior;
using tokenizer::TokenizerData;

static constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

static PreTokenizeStep stepOf(PreTokenizeStep::Op op) {
  PreTokenizeStep step;
  step.op = op;
  return step;
}

static PreTokenizeStep splitStep(tokenizer::Matcher matcher, SplitBehavior behavior, bool foundAreWords = false) {
  PreTokenizeStep step = stepOf(PreTokenizeStep::Split);
  step.matcher = std::move(matcher);
  step.behavior = behavior;
  step.flag = foundAreWords;
  return step;
}

static PreTokenizeStep splitAt(const CharRanges &set, SplitBehavior behavior, TokenizerData &data) {
  tokenizer::Matcher matcher;
  matcher.kind = tokenizer::Matcher::Set;
  matcher.set = internSet(set, data.sets);
  return splitStep(std::move(matcher), behavior);
}

static tokenizer::Matcher literal(std::string text) {
  tokenizer::Matcher matcher;
  matcher.text = std::move(text);
  return matcher;
}

static Result<SplitBehavior> importBehavior(const Component &component, std::optional<std::string> otherwise = {}) {
  constexpr std::array<std::string_view, 5> kNames = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                                      "Contiguous"};
  LLMOPT_ASSIGN(std::string name, component.string("behavior", std::move(otherwise)));
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name)
      return SplitBehavior(i);
  return component.missing("behavior");
}

static Status importByteLevel(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(bool prefix, component.boolean("add_prefix_space"));
  LLMOPT_ASSIGN(bool split, component.boolean("use_regex", true));
  if (prefix) {
    data.preTokenize.push_back(stepOf(PreTokenizeStep::PrependTo));
    data.preTokenize.back().text = " ";
  }
  if (split) {
    LLMOPT_ASSIGN(tokenizer::Matcher matcher, compileExpression(kGpt2Words, data.sets));
    data.preTokenize.push_back(splitStep(std::move(matcher), SplitBehavior::Isolated));
  }
  data.preTokenize.push_back(stepOf(PreTokenizeStep::Bytes));
  return {};
}

static Status importMetaspace(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string mark, component.character("replacement"));
  LLMOPT_ASSIGN(std::string scheme, component.string("prepend_scheme", "always"));
  LLMOPT_ASSIGN(bool prefix, component.boolean("add_prefix_space", true));
  LLMOPT_ASSIGN(bool split, component.boolean("split", true));
  if (scheme != "always" && scheme != "first" && scheme != "never")
    return component.missing("prepend_scheme");
  if (!prefix && scheme != "never" && component.find("prepend_scheme"))
    return component.wrong("add_prefix_space", "contradicts prepend_scheme");
  PreTokenizeStep replace = stepOf(PreTokenizeStep::Replace);
  replace.text = mark;
  replace.text2 = " ";
  data.preTokenize.push_back(std::move(replace));
  if (prefix && scheme != "never") {
    data.preTokenize.push_back(stepOf(PreTokenizeStep::PrependTo));
    data.preTokenize.back().text = mark;
    data.preTokenize.back().flag = scheme == "first";
  }
  if (split)
    data.preTokenize.push_back(splitStep(literal(mark), SplitBehavior::MergedWithNext));
  return {};
}

static Status importSplit(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(SplitBehavior behavior, importBehavior(component));
  LLMOPT_ASSIGN(bool invert, component.boolean("invert"));
  LLMOPT_ASSIGN(tokenizer::Matcher matcher, importPattern(component, data));
  data.preTokenize.push_back(splitStep(std::move(matcher), behavior, invert));
  return {};
}

/// Words, and runs of what is neither word nor white space.
static Status importWhitespace(TokenizerData &data) {
  using tokenizer::ProgramStep;
  CharRanges word = wordChars(), rest = complement(unite(word, whiteSpace()));
  tokenizer::Matcher matcher;
  matcher.kind = tokenizer::Matcher::Program;
  matcher.program.resize(5);
  matcher.program[0] = {ProgramStep::Alternative, 0, 0, 0, 3, 0};
  matcher.program[1] = {ProgramStep::Run, internSet(word, data.sets), 1, tokenizer::kNoLimit, 0, 1};
  matcher.program[2] = {ProgramStep::Jump, 0, 0, 0, 4, 0};
  matcher.program[3] = {ProgramStep::Run, internSet(rest, data.sets), 1, tokenizer::kNoLimit, 0, 1};
  data.preTokenize.push_back(splitStep(std::move(matcher), SplitBehavior::Removed, true));
  return {};
}

static Status importScripts(TokenizerData &data) {
  data.preTokenize.push_back(stepOf(PreTokenizeStep::Scripts));
  data.preTokenize.back().scripts = scriptTable();
  return {};
}

Status frontend::importPreTokenizer(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string type, component.string("type"));
  if (type == "Sequence") {
    LLMOPT_ASSIGN(std::vector<Component> parts, component.list("pretokenizers"));
    for (const Component &part : parts)
      LLMOPT_RETURN_IF_ERROR(importPreTokenizer(part, data));
    return {};
  }
  if (type == "ByteLevel")
    return importByteLevel(component, data);
  if (type == "Metaspace")
    return importMetaspace(component, data);
  if (type == "Split")
    return importSplit(component, data);
  if (type == "Whitespace")
    return importWhitespace(data);
  if (type == "UnicodeScripts")
    return importScripts(data);
  if (type == "BertPreTokenizer") {
    data.preTokenize.push_back(splitAt(whiteSpace(), SplitBehavior::Removed, data));
    data.preTokenize.push_back(splitAt(punctuationChars(), SplitBehavior::Isolated, data));
  } else if (type == "WhitespaceSplit") {
    data.preTokenize.push_back(splitAt(whiteSpace(), SplitBehavior::Removed, data));
  } else if (type == "Punctuation") {
    LLMOPT_ASSIGN(SplitBehavior behavior, importBehavior(component, "Isolated"));
    data.preTokenize.push_back(splitAt(punctuationChars(), behavior, data));
  } else if (type == "Digits") {
    LLMOPT_ASSIGN(bool single, component.boolean("individual_digits"));
    data.preTokenize.push_back(
        splitAt(numericChars(), single ? SplitBehavior::Isolated : SplitBehavior::Contiguous, data));
  } else if (type == "CharDelimiterSplit" || type == "Delimiter") {
    LLMOPT_ASSIGN(std::string delimiter, component.character("delimiter"));
    data.preTokenize.push_back(splitStep(literal(std::move(delimiter)), SplitBehavior::Removed));
  } else if (type == "FixedLength") {
    LLMOPT_ASSIGN(int64_t length, component.integer("length", 1, UINT32_MAX, 5));
    data.preTokenize.push_back(stepOf(PreTokenizeStep::FixedLength));
    data.preTokenize.back().number = uint32_t(length);
  } else {
    return component.missing("type");
  }
  return {};
}
