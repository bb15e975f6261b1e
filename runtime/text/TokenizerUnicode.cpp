//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerUnicode.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utf8proc.h>
#include <utility>

using namespace llmopt::text;

namespace {

/// A character on its way through: `change` as in Rewriter::put.
struct Unit {
  uint32_t c;
  int change;
  uint8_t order; ///< canonical combining class
};

bool isHangul(uint32_t c) { return (c >= 0x1100 && c < 0x1200) || (c >= 0xAC00 && c <= 0xD7A3); }

/// The one character that a pair is written as, if there is one.
std::optional<uint32_t> composed(uint32_t first, uint32_t second) {
  // Most pairs of neighbours have no part in any composition.
  constexpr uint16_t kNone = UINT16_MAX;
  if (!isHangul(first) && (utf8proc_get_property(utf8proc_int32_t(first))->comb_index == kNone ||
                           utf8proc_get_property(utf8proc_int32_t(second))->comb_index == kNone))
    return std::nullopt;
  utf8proc_int32_t pair[3] = {utf8proc_int32_t(first), utf8proc_int32_t(second), 0};
  auto options = utf8proc_option_t(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return utf8proc_normalize_utf32(pair, 2, options) == 1 ? std::optional(uint32_t(pair[0])) : std::nullopt;
}

class Normalizer {
public:
  Normalizer(const Text &text, UnicodeForm form, const CharSet &inert)
      : text_(text.bytes), form_(form), inert_(inert), out_(text) {}

  Text run() {
    for (size_t at = 0; at < text_.size();)
      decompose(nextChar(text_, at));
    closeMarks();
    emit();
    return out_.take();
  }

private:
  /// Everything from one starter up to the next is put in order, and composed, together.
  void decompose(uint32_t c) {
    if (c < 0x80)
      return add({c, 0, 0});
    if (inert_.contains(c))
      return add({c, 0, 0});
    std::array<utf8proc_int32_t, 32> parts;
    int boundary = 0;
    auto options =
        utf8proc_option_t(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (form_.compatibility ? UTF8PROC_COMPAT : 0));
    auto count = utf8proc_decompose_char(utf8proc_int32_t(c), parts.data(), parts.size(), options, &boundary);
    if (count <= 0 || size_t(count) > parts.size())
      return add({c, 0, 0});
    for (size_t i = 0; i < size_t(count); ++i)
      add({uint32_t(parts[i]), i > 0, uint8_t(utf8proc_get_property(parts[i])->combining_class)});
  }

  void add(Unit unit) {
    if (unit.order != 0) {
      marks_.push_back(unit);
      return;
    }
    bool bare = closeMarks();
    if (form_.compose && starter_ && bare && compose(unit))
      return;
    emit();
    starter_ = unit;
  }

  /// Puts the marks behind the starter in order and lets it take up what it can; true when none is left.
  bool closeMarks() {
    sortMarks();
    if (form_.compose && starter_)
      composeMarks();
    return marks_.empty();
  }

  void sortMarks() {
    // Counting sort: stable, and linear however many marks there are.
    if (marks_.size() < 2)
      return;
    std::array<size_t, 257> begin{};
    for (const Unit &mark : marks_)
      ++begin[mark.order + 1u];
    for (size_t i = 1; i < begin.size(); ++i)
      begin[i] += begin[i - 1];
    sorted_.resize(marks_.size());
    for (const Unit &mark : marks_)
      sorted_[begin[mark.order]++] = mark;
    marks_.swap(sorted_);
  }

  void composeMarks() {
    size_t kept = 0;
    int last = -1; // class of the last mark that stays: it blocks those of its own class and below
    for (const Unit &mark : marks_) {
      if (last < mark.order && compose(mark))
        continue;
      last = mark.order;
      marks_[kept++] = mark;
    }
    marks_.resize(kept);
  }

  bool compose(const Unit &second) {
    if (inert_.contains(starter_->c) || inert_.contains(second.c))
      return false;
    std::optional<uint32_t> both = composed(starter_->c, second.c);
    if (both) // what the two stood for, as one character
      *starter_ = {*both, starter_->change + second.change - 1, 0};
    return both.has_value();
  }

  void emit() {
    if (starter_)
      out_.put(starter_->c, starter_->change);
    for (const Unit &mark : marks_)
      out_.put(mark.c, mark.change);
    starter_.reset();
    marks_.clear();
  }

  std::string_view text_;
  UnicodeForm form_;
  const CharSet &inert_;
  Rewriter out_;
  std::optional<Unit> starter_;
  std::vector<Unit> marks_, sorted_;
};

} // namespace

Text llmopt::text::normalizeUnicode(const Text &text, UnicodeForm form, const CharSet &inert) {
  bool ascii = std::all_of(text.bytes.begin(), text.bytes.end(), [](char c) { return uint8_t(c) < 0x80; });
  return ascii ? text : Normalizer(text, form, inert).run();
}
