//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerCharsmap.h"

#include "llmopt/lib/Support/Utf8.h"

#include <cstring>
#include <utf8proc.h>

using namespace llmopt;
using namespace llmopt::text;

static bool isInsideChar(std::string_view text, size_t at) {
  return at < text.size() && (uint8_t(text[at]) & 0xC0) == 0x80;
}

Result<Charsmap> Charsmap::parse(std::string_view blob) {
  Charsmap map;
  if (blob.empty())
    return map;
  uint32_t bytes = 0;
  if (blob.size() < sizeof bytes)
    return badInput("E1401", "the tokenizer's compiled normalization is cut off");
  std::memcpy(&bytes, blob.data(), sizeof bytes);
  blob.remove_prefix(sizeof bytes);
  if (bytes > blob.size() || bytes % 4 != 0 || !isUtf8(blob.substr(bytes)))
    return badInput("E1401", "the tokenizer's compiled normalization is damaged");
  map.units_.resize(bytes / 4);
  std::memcpy(map.units_.data(), blob.data(), bytes);
  map.pool_ = blob.substr(bytes);
  return map;
}

std::optional<Charsmap::Rule> Charsmap::find(std::string_view text, int most) const {
  auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  std::optional<Rule> best;
  size_t node = 0;
  if (units_.empty())
    return best;
  node ^= offset(units_[0]);
  for (size_t i = 0; i < text.size() && most > 0; ++i) {
    uint8_t label = uint8_t(text[i]);
    node ^= label;
    if (label == 0 || node >= units_.size() || (units_[node] & 0x800000FFu) != label)
      break;
    bool isKey = (units_[node] >> 8 & 1) != 0;
    node ^= offset(units_[node]);
    if (!isKey)
      continue;
    // A damaged trie may lead anywhere; a rule that would tear characters apart is none.
    size_t value = node < units_.size() ? units_[node] & 0x7FFFFFFFu : pool_.size();
    --most;
    if (value < pool_.size() && !isInsideChar(pool_, value))
      best = Rule{i + 1, std::string_view(pool_).substr(value, std::strlen(pool_.data() + value))};
  }
  return best;
}

/// Replaces `old`, where the characters keep their positions as far as they go.
static void replaceChars(Rewriter &out, std::string_view old, std::string_view now) {
  int extra = int(countChars(now)) - int(countChars(old));
  for (size_t at = 0; at < now.size();) {
    uint32_t c = nextChar(now, at);
    int left = int(countChars(now.substr(at)));
    bool last = at == now.size();
    out.put(c, extra > 0 ? (left < extra ? 1 : 0) : last ? extra : 0);
  }
}

static size_t clusterLength(std::string_view text) {
  utf8proc_int32_t state = 0;
  size_t at = 0;
  uint32_t before = nextChar(text, at);
  while (at < text.size()) {
    size_t after = at;
    uint32_t c = nextChar(text, after);
    if (utf8proc_grapheme_break_stateful(utf8proc_int32_t(before), utf8proc_int32_t(c), &state))
      break;
    before = c;
    at = after;
  }
  return at;
}

Text Charsmap::applyToClusters(const Text &text) const {
  Rewriter out(text);
  std::string_view rest = text.bytes;
  while (!rest.empty()) {
    size_t length = clusterLength(rest);
    std::string_view cluster = rest.substr(0, length);
    rest.remove_prefix(length);
    if (std::optional<Rule> rule = length < 6 ? shortest(cluster) : std::nullopt) {
      replaceChars(out, cluster, rule->replacement);
      continue;
    }
    for (size_t at = 0; at < cluster.size();) {
      size_t begin = at;
      uint32_t c = nextChar(cluster, at);
      std::string_view one = cluster.substr(begin, at - begin);
      if (std::optional<Rule> rule = shortest(one))
        replaceChars(out, one, rule->replacement);
      else
        out.put(c, 0);
    }
  }
  return out.take();
}

namespace {
/// The front of a text as SentencePiece sees it.
struct Prefix {
  std::string_view now;
  size_t length;
};
} // namespace

static Prefix normalizePrefix(std::string_view text, const Charsmap &map, const Trie &userDefined) {
  if (size_t length = userDefined.longest(text).first; length > 0)
    return {text.substr(0, length), length};
  if (std::optional<Charsmap::Rule> rule = map.longest(text); rule && !isInsideChar(text, rule->length))
    return {rule->replacement, rule->length};
  size_t length = charLength(text[0]);
  return {text.substr(0, length), length};
}

std::string llmopt::text::normalizeForPieces(std::string_view text, const Charsmap &map,
                                             const tokenizer::SpaceRules &rules, const Trie &userDefined,
                                             bool atStart) {
  const std::string_view space = rules.escape ? "\xE2\x96\x81" : " ";
  while (rules.removeExtra && !text.empty()) {
    Prefix prefix = normalizePrefix(text, map, userDefined);
    if (prefix.now != " ")
      break;
    text.remove_prefix(prefix.length);
  }
  std::string out;
  if (text.empty())
    return out;
  out.reserve(text.size() * 3 / 2 + 3);
  bool dummy = rules.dummyPrefix && (atStart || !rules.prefixOnlyAtStart);
  if (dummy && !rules.suffix)
    out += space;
  bool afterSpace = rules.removeExtra;
  while (!text.empty()) {
    Prefix prefix = normalizePrefix(text, map, userDefined);
    text.remove_prefix(prefix.length);
    while (afterSpace && prefix.now.starts_with(' '))
      prefix.now.remove_prefix(1);
    for (char c : prefix.now)
      if (c == ' ')
        out += space;
      else
        out += c;
    if (!prefix.now.empty())
      afterSpace = rules.removeExtra && prefix.now.ends_with(' ');
  }
  while (rules.removeExtra && std::string_view(out).ends_with(space))
    out.resize(out.size() - space.size());
  if (dummy && rules.suffix)
    out += space;
  return out;
}
