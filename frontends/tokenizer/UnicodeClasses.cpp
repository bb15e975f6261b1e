//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "UnicodeClasses.h"

#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <span>

using namespace llmopt;
using namespace llmopt::frontend;

namespace {

constexpr uint32_t kEnd = 0x110000;

struct LowerRun {
  uint32_t first, last, step;
  int32_t distance;
};
struct NamedSet {
  std::string_view name;
  uint32_t mask;
  std::span<const uint32_t> changes;
};

#include "UnicodeTables.inc"

constexpr std::array<std::string_view, 30> kCategories = {"lu", "ll", "lt", "lm", "lo", "mn", "mc", "me", "nd", "nl",
                                                          "no", "pc", "pd", "ps", "pe", "pi", "pf", "po", "sm", "sc",
                                                          "sk", "so", "zs", "zl", "zp", "cc", "cf", "cs", "co", "cn"};
constexpr std::array<std::pair<std::string_view, std::string_view>, 38> kLongNames = {{{"letter", "l"},
                                                                                       {"casedletter", "lc"},
                                                                                       {"uppercaseletter", "lu"},
                                                                                       {"lowercaseletter", "ll"},
                                                                                       {"titlecaseletter", "lt"},
                                                                                       {"modifierletter", "lm"},
                                                                                       {"otherletter", "lo"},
                                                                                       {"mark", "m"},
                                                                                       {"combiningmark", "m"},
                                                                                       {"nonspacingmark", "mn"},
                                                                                       {"spacingmark", "mc"},
                                                                                       {"enclosingmark", "me"},
                                                                                       {"number", "n"},
                                                                                       {"decimalnumber", "nd"},
                                                                                       {"letternumber", "nl"},
                                                                                       {"othernumber", "no"},
                                                                                       {"punctuation", "p"},
                                                                                       {"connectorpunctuation", "pc"},
                                                                                       {"dashpunctuation", "pd"},
                                                                                       {"openpunctuation", "ps"},
                                                                                       {"closepunctuation", "pe"},
                                                                                       {"initialpunctuation", "pi"},
                                                                                       {"finalpunctuation", "pf"},
                                                                                       {"otherpunctuation", "po"},
                                                                                       {"symbol", "s"},
                                                                                       {"mathsymbol", "sm"},
                                                                                       {"currencysymbol", "sc"},
                                                                                       {"modifiersymbol", "sk"},
                                                                                       {"othersymbol", "so"},
                                                                                       {"separator", "z"},
                                                                                       {"spaceseparator", "zs"},
                                                                                       {"lineseparator", "zl"},
                                                                                       {"paragraphseparator", "zp"},
                                                                                       {"other", "c"},
                                                                                       {"control", "cc"},
                                                                                       {"format", "cf"},
                                                                                       {"privateuse", "co"},
                                                                                       {"unassigned", "cn"}}};

CharRanges fromChanges(std::span<const uint32_t> changes) {
  CharRanges set;
  for (size_t i = 0; i < changes.size() && changes[i] < kEnd; i += 2)
    set.push_back({changes[i], (i + 1 < changes.size() ? changes[i + 1] : kEnd) - 1});
  return set;
}

CharRanges ofCategories(uint32_t mask) {
  std::vector<CharRange> ranges;
  for (size_t i = 0; i < std::size(kCategoryRuns); ++i) {
    uint32_t next = i + 1 < std::size(kCategoryRuns) ? kCategoryRuns[i + 1] >> 5 : kEnd;
    if (mask >> (kCategoryRuns[i] & 31) & 1)
      ranges.push_back({kCategoryRuns[i] >> 5, next - 1});
  }
  return makeRanges(std::move(ranges));
}

CharRanges tableSet(uint32_t mask, std::span<const uint32_t> changes) {
  CharRanges base = ofCategories(mask), change = fromChanges(changes);
  return unite(intersect(base, complement(change)), intersect(change, complement(base)));
}

/// A mask of the categories that `name` stands for; 0 for no category.
uint32_t categoryMask(std::string_view name) {
  if (name == "lc")
    return 0b111;
  uint32_t mask = 0;
  for (size_t i = 0; i < kCategories.size(); ++i)
    if (kCategories[i] == name || (name.size() == 1 && kCategories[i][0] == name[0]))
      mask |= 1u << i;
  return mask;
}

} // namespace

CharRanges frontend::makeRanges(std::vector<CharRange> ranges) {
  auto less = [](const CharRange &a, const CharRange &b) { return a.first < b.first; };
  std::sort(ranges.begin(), ranges.end(), less);
  CharRanges out;
  for (const CharRange &range : ranges)
    if (!out.empty() && range.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  return out;
}

CharRanges frontend::unite(const CharRanges &a, const CharRanges &b) {
  std::vector<CharRange> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return makeRanges(std::move(both));
}

CharRanges frontend::complement(const CharRanges &set) {
  CharRanges out;
  uint32_t next = 0;
  for (const CharRange &range : set) {
    if (range.first > next)
      out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next < kEnd)
    out.push_back({next, kEnd - 1});
  return out;
}

CharRanges frontend::intersect(const CharRanges &a, const CharRanges &b) {
  return complement(unite(complement(a), complement(b)));
}

bool frontend::contains(const CharRanges &set, uint32_t c) {
  auto less = [](uint32_t key, const CharRange &range) { return key < range.first; };
  auto it = std::upper_bound(set.begin(), set.end(), c, less);
  return it != set.begin() && c <= (it - 1)->last;
}

CharRanges frontend::whiteSpace() {
  return {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
          {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
}
CharRanges frontend::chineseChars() {
  return {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
          {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
}
CharRanges frontend::expressionWordChars() { return tableSet(kExpressionWordMask, kExpressionWordChanges); }
CharRanges frontend::wordChars() { return tableSet(kWordMask, kWordChanges); }
CharRanges frontend::numericChars() { return tableSet(kNumericMask, kNumericChanges); }
CharRanges frontend::punctuationChars() { return tableSet(kPunctuationMask, kPunctuationChanges); }
CharRanges frontend::controlChars() { return tableSet(kControlMask, kControlChanges); }
CharRanges frontend::nonspacingMarks() { return tableSet(kNonspacingMask, kNonspacingChanges); }
CharRanges frontend::combiningMarks() { return tableSet(kMarkMask, kMarkChanges); }
CharRanges frontend::inertChars() { return tableSet(kInertMask, kInertChanges); }

/// The POSIX names as properties.
static std::optional<CharRanges> posixProperty(std::string_view name) {
  auto categories = [](std::initializer_list<std::string_view> names) {
    uint32_t mask = 0;
    for (std::string_view category : names)
      mask |= categoryMask(category);
    return ofCategories(mask);
  };
  if (name == "alpha")
    return propertyChars("alphabetic");
  if (name == "upper" || name == "lower")
    return propertyChars(std::string(name) + "case");
  if (name == "digit")
    return categories({"nd"});
  if (name == "alnum")
    return unite(*propertyChars("alphabetic"), categories({"nd"}));
  if (name == "space")
    return whiteSpace();
  if (name == "word")
    return expressionWordChars();
  if (name == "cntrl")
    return categories({"cc"});
  if (name == "blank")
    return unite(categories({"zs"}), {{0x9, 0x9}});
  if (name == "xdigit")
    return CharRanges{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  if (name == "ascii")
    return CharRanges{{0, 0x7F}};
  if (name == "punct")
    return categories({"p"});
  if (name == "graph")
    return categories({"l", "m", "n", "p", "s", "cf", "co"});
  if (name == "print")
    return categories({"l", "m", "n", "p", "s", "cf", "co", "zs"});
  return std::nullopt;
}

std::optional<CharRanges> frontend::posixClass(std::string_view name) {
  std::optional<CharRanges> set = posixProperty(name);
  if (name == "punct")
    return unite(*set, ofCategories(categoryMask("s")));
  if (name == "word") // without the superscripts and fractions of Latin-1
    return intersect(*set, complement({{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}}));
  return set;
}

std::optional<CharRanges> frontend::propertyChars(std::string_view text) {
  std::string name;
  for (char c : text)
    if (c != ' ' && c != '_' && c != '-')
      name += char(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (name == "any")
    return CharRanges{{0, kEnd - 1}};
  if (name == "assigned")
    return complement(ofCategories(categoryMask("cn")));
  if (name == "whitespace")
    return whiteSpace();
  for (auto [longName, shortName] : kLongNames)
    if (longName == name)
      return ofCategories(categoryMask(shortName));
  if (uint32_t mask = name.size() <= 2 ? categoryMask(name) : 0)
    return ofCategories(mask);
  for (const NamedSet &set : kNamedSets)
    if (set.name == name)
      return tableSet(set.mask, set.changes);
  return posixProperty(name);
}

/// Characters that fold to another although they are lower case already.
static constexpr std::array<std::pair<uint32_t, uint32_t>, 25> kSpecialFolds = {
    {{0xB5, 0x3BC},    {0x17F, 's'},    {0x345, 0x3B9},  {0x3C2, 0x3C3},   {0x3D0, 0x3B2},
     {0x3D1, 0x3B8},   {0x3D5, 0x3C6},  {0x3D6, 0x3C0},  {0x3F0, 0x3BA},   {0x3F1, 0x3C1},
     {0x3F5, 0x3B5},   {0x1C80, 0x432}, {0x1C81, 0x434}, {0x1C82, 0x43E},  {0x1C83, 0x441},
     {0x1C84, 0x442},  {0x1C85, 0x442}, {0x1C86, 0x44A}, {0x1C87, 0x463},  {0x1C88, 0xA64B},
     {0x1E9B, 0x1E61}, {0x1E9E, 0xDF},  {0x1FBE, 0x3B9}, {0xFB05, 0xFB06}, {0x1FD3, 0x390}}};

CharRanges frontend::caseClosure(const CharRanges &set) {
  // Every character that has a case, by the one that stands for all of its kind.
  static const std::multimap<uint32_t, uint32_t> kCased = [] {
    std::multimap<uint32_t, uint32_t> cased;
    auto add = [&](uint32_t c, uint32_t folded) { cased.insert({{folded, c}, {folded, folded}}); };
    for (const LowerRun &run : kLowerRuns)
      for (uint32_t c = run.first; c <= run.last; c += run.step)
        add(c, uint32_t(int32_t(c) + run.distance));
    for (auto [from, to] : kSpecialFolds)
      add(from, to);
    return cased;
  }();
  std::vector<CharRange> out = set;
  for (auto it = kCased.begin(); it != kCased.end();) {
    auto end = kCased.upper_bound(it->first);
    bool any = std::any_of(it, end, [&](const auto &entry) { return contains(set, entry.second); });
    for (; it != end; ++it)
      if (any)
        out.push_back({it->second, it->second});
  }
  return makeRanges(std::move(out));
}

std::vector<tokenizer::CharMapping> frontend::lowercaseMap() {
  std::vector<tokenizer::CharMapping> map;
  for (const LowerRun &run : kLowerRuns)
    for (uint32_t c = run.first; c <= run.last; c += run.step) {
      map.push_back({c, {}});
      appendUtf8(map.back().to, uint32_t(int32_t(c) + run.distance));
    }
  map.push_back({0x130, "i\xCC\x87"}); // the only character whose lower case is two
  auto less = [](const tokenizer::CharMapping &a, const tokenizer::CharMapping &b) { return a.from < b.from; };
  std::sort(map.begin(), map.end(), less);
  return map;
}

std::vector<tokenizer::ScriptRange> frontend::scriptTable() {
  return {std::begin(kScriptRanges), std::end(kScriptRanges)};
}
