//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerNormalizer.h"

#include "TokenizerBytes.h"
#include "TokenizerUnicode.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::NormalizeStep;

static tokenizer::CharRanges keysOf(const std::vector<tokenizer::CharMapping> &mappings) {
  tokenizer::CharRanges keys;
  for (const tokenizer::CharMapping &mapping : mappings)
    keys.push_back({mapping.from, mapping.from});
  return keys;
}

CharMap::CharMap(std::vector<tokenizer::CharMapping> mappings)
    : keys_(keysOf(mappings)), mappings_(std::move(mappings)) {}

const std::string *CharMap::find(uint32_t c) const {
  if (!keys_.contains(c))
    return nullptr;
  auto less = [](const tokenizer::CharMapping &mapping, uint32_t key) { return mapping.from < key; };
  return &std::lower_bound(mappings_.begin(), mappings_.end(), c, less)->to;
}

Result<text::Normalizer> text::Normalizer::create(const tokenizer::TokenizerData &data,
                                                  const std::vector<CharSet> &sets, const Trie &userDefined) {
  Normalizer normalizer;
  normalizer.spaces_ = data.spaces;
  normalizer.userDefined_ = &userDefined;
  for (const NormalizeStep &step : data.normalize) {
    bool isMap = step.op == NormalizeStep::Charsmap || step.op == NormalizeStep::SentencePiece;
    LLMOPT_ASSIGN(Charsmap charsmap, Charsmap::parse(isMap ? std::string_view(step.text) : std::string_view()));
    std::unique_ptr<Matcher> matcher;
    if (step.op == NormalizeStep::Replace) {
      LLMOPT_ASSIGN(matcher, Matcher::create(step.matcher, sets));
    }
    normalizer.steps_.push_back({step.op, step.set < sets.size() ? &sets[step.set] : nullptr, step.flag, step.flag2,
                                 isMap ? std::string() : step.text, CharMap(step.map), std::move(charsmap),
                                 std::move(matcher)});
  }
  return normalizer;
}

Status text::Normalizer::apply(Text &text) const {
  Status status;
  for (const Step &step : steps_)
    if (Status one = apply(step, text); !one.ok())
      status = one;
  return status;
}

Status text::Normalizer::apply(const Step &step, Text &text) const {
  if (text.bytes.empty())
    return {};
  switch (step.op) {
  case NormalizeStep::Remove:
    text = removeSet(text, *step.set);
    break;
  case NormalizeStep::Map:
    text = mapChars(text, step.map);
    break;
  case NormalizeStep::Surround:
    text = surround(text, *step.set);
    break;
  case NormalizeStep::Nfc:
  case NormalizeStep::Nfd:
  case NormalizeStep::Nfkc:
  case NormalizeStep::Nfkd: {
    bool compatibility = step.op == NormalizeStep::Nfkc || step.op == NormalizeStep::Nfkd;
    bool compose = step.op == NormalizeStep::Nfc || step.op == NormalizeStep::Nfkc;
    text = normalizeUnicode(text, {compatibility, compose}, *step.set);
    break;
  }
  case NormalizeStep::Strip:
    text = strip(text, step);
    break;
  case NormalizeStep::Charsmap:
    text = step.charsmap.applyToClusters(text);
    break;
  case NormalizeStep::Replace:
    return replace(step, text);
  case NormalizeStep::Prepend:
    text.bytes.insert(0, step.text);
    text.atStart = text.atStart ? text.atStart + step.text.size() : 0;
    break;
  case NormalizeStep::Bytes:
    text = toBytes(text);
    break;
  case NormalizeStep::SentencePiece:
    text = {normalizeForPieces(text.bytes, step.charsmap, spaces_, *userDefined_, text.atStart > 0), 0};
    break;
  }
  return {};
}

Text text::Normalizer::removeSet(const Text &text, const CharSet &set) {
  Rewriter out(text);
  for (size_t at = 0; at < text.bytes.size();) {
    uint32_t c = nextChar(text.bytes, at);
    if (set.contains(c))
      out.drop();
    else
      out.put(c, 0);
  }
  return out.take();
}

Text text::Normalizer::mapChars(const Text &text, const CharMap &map) {
  Rewriter out(text);
  for (size_t at = 0; at < text.bytes.size();) {
    uint32_t c = nextChar(text.bytes, at);
    const std::string *to = map.find(c);
    if (!to) {
      out.put(c, 0);
      continue;
    }
    for (size_t i = 0, inserted = 0; i < to->size(); inserted = 1)
      out.put(nextChar(*to, i), int(inserted));
    if (to->empty())
      out.drop();
  }
  return out.take();
}

Text text::Normalizer::surround(const Text &text, const CharSet &set) {
  Rewriter out(text);
  for (size_t at = 0; at < text.bytes.size();) {
    uint32_t c = nextChar(text.bytes, at);
    bool inSet = set.contains(c);
    out.put(inSet ? ' ' : c, 0);
    if (inSet) {
      out.put(c, 1);
      out.put(' ', 1);
    }
  }
  return out.take();
}

Text text::Normalizer::strip(const Text &text, const Step &step) {
  size_t begin = 0, end = text.bytes.size();
  for (size_t at = 0; step.flag && at < end && step.set->contains(nextChar(text.bytes, at));)
    begin = at;
  while (step.flag2 && end > begin) {
    size_t last = previousChar(text.bytes, end), at = last;
    if (!step.set->contains(nextChar(text.bytes, at)))
      break;
    end = last;
  }
  size_t atStart = text.atStart > begin ? std::min(text.atStart, end) - begin : 0;
  return {text.bytes.substr(begin, end - begin), atStart};
}

Text text::Normalizer::toBytes(const Text &text) {
  Rewriter out(text);
  for (size_t at = 0; at < text.bytes.size();)
    for (size_t begin = at, end = at + charLength(text.bytes[at]); at < end; ++at)
      out.put(kByteAlphabet.charOf(uint8_t(text.bytes[at])), at > begin);
  return out.take();
}

Status text::Normalizer::replace(const Step &step, Text &text) {
  std::vector<Stretch> stretches;
  Status status = step.matcher->cut(text.bytes, stretches);
  Rewriter out(text);
  for (const Stretch &stretch : stretches) {
    if (!stretch.found) {
      out.copyBytes(std::string_view(text.bytes).substr(stretch.begin, stretch.end - stretch.begin));
      continue;
    }
    out.dropBytes(stretch.end - stretch.begin);
    for (size_t at = 0; at < step.text.size();)
      out.put(nextChar(step.text, at), 1);
  }
  text = out.take();
  return status;
}
