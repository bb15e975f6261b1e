//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerMatcher.h"

#include "TokenizerUtf8.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::ProgramStep;

namespace {

/// Characters a search may look at, beside 64 for each of the text. The usual expressions look at each character
/// once for every alternative; only a pathological one comes near.
constexpr uint64_t kMaxLooks = 10'000'000;

class SetMatcher final : public text::Matcher {
public:
  explicit SetMatcher(const CharSet &set) : set_(set) {}

private:
  Search next(std::string_view text, size_t from, Found &place) const override {
    while (from < text.size()) {
      size_t begin = from;
      if (set_.contains(nextChar(text, from))) {
        place = {begin, from};
        return Search::Found;
      }
    }
    return Search::None;
  }
  const CharSet &set_;
};

class LiteralMatcher final : public text::Matcher {
public:
  explicit LiteralMatcher(std::string text) : text_(std::move(text)) {}

private:
  Search next(std::string_view text, size_t from, Found &place) const override {
    size_t at = text.find(text_, from);
    if (at == text.npos)
      return Search::None;
    place = {at, at + text_.size()};
    return Search::Found;
  }
  std::string text_;
};

class ProgramMatcher final : public text::Matcher {
public:
  ProgramMatcher(std::vector<ProgramStep> steps, const std::vector<CharSet> &sets)
      : steps_(std::move(steps)), sets_(sets), firstRun_(openRunAtBegin()) {}

  Status findAll(std::string_view text, std::vector<Found> &found) const override {
    return Searcher(*this, kMaxLooks + 64 * uint64_t(text.size())).findAll(text, found);
  }

private:
  /// What one search changes, so that threads can share the program.
  class Searcher final : public text::Matcher {
  public:
    Searcher(const ProgramMatcher &program, uint64_t looks) : p_(program), looks_(looks) {}

  private:
    /// Where to go on after a failure: a run may give back characters down to `floor`, an alternative has none.
    struct Choice {
      uint32_t step;
      size_t at, floor;
    };
    Search next(std::string_view text, size_t from, Found &place) const override;
    Search matchAt(std::string_view text, size_t start, Found &place) const;
    bool run(const ProgramStep &step, std::string_view text, size_t &at, size_t &floor) const;
    bool goBack(std::string_view text, uint32_t &pc, size_t &at) const;

    const ProgramMatcher &p_;
    mutable std::vector<Choice> choices_;
    mutable uint64_t looks_;
  };

  Search next(std::string_view, size_t, Found &) const override { return Search::None; }

  /// The set of a run of any length that begins every match. When such a program fails at one place, it has tried
  /// every later one inside that run too.
  const CharSet *openRunAtBegin() const {
    const ProgramStep &first = steps_[0];
    bool open = first.op == ProgramStep::Run && !first.keep && first.min <= 1 && first.max == tokenizer::kNoLimit;
    return open ? &sets_[first.set] : nullptr;
  }

  bool skips(uint32_t c) const { return firstRun_ && firstRun_->contains(c); }

  bool passes(const ProgramStep &step, std::string_view text, size_t at) const {
    if (step.op == ProgramStep::LineBegin)
      return at == 0 || (text[at - 1] == '\n' && at < text.size());
    if (step.op == ProgramStep::LineEnd)
      return at == text.size() || text[at] == '\n';
    bool ahead = false;
    if (at < text.size())
      ahead = sets_[step.set].contains(nextChar(text, at));
    return ahead == (step.op == ProgramStep::Ahead);
  }

  std::vector<ProgramStep> steps_;
  const std::vector<CharSet> &sets_;
  const CharSet *firstRun_;
};

text::Matcher::Search ProgramMatcher::Searcher::next(std::string_view text, size_t from, Found &place) const {
  while (true) {
    Search result = matchAt(text, from, place);
    if (result != Search::None)
      return result;
    if (from >= text.size())
      return Search::None;
    bool inRun = p_.skips(nextChar(text, from));
    while (inRun && from < text.size()) {
      size_t after = from;
      inRun = p_.skips(nextChar(text, after));
      from = inRun ? after : from;
    }
  }
}

/// Characters of the run at `at`; leaves `at` behind the last one, `floor` behind the shortest run allowed.
bool ProgramMatcher::Searcher::run(const ProgramStep &step, std::string_view text, size_t &at, size_t &floor) const {
  const CharSet &set = p_.sets_[step.set];
  size_t begin = floor = at;
  uint32_t count = 0;
  while (count < step.max && at < text.size()) {
    size_t after = at;
    if (!set.contains(nextChar(text, after)))
      break;
    at = after;
    if (++count == step.min)
      floor = at;
  }
  looks_ -= std::min<uint64_t>(looks_, at - begin + 1);
  return count >= step.min;
}

bool ProgramMatcher::Searcher::goBack(std::string_view text, uint32_t &pc, size_t &at) const {
  if (choices_.empty())
    return false;
  Choice &last = choices_.back();
  pc = last.step;
  if (last.at > last.floor)
    last.at = previousChar(text, last.at);
  at = last.at;
  looks_ -= std::min<uint64_t>(looks_, 1);
  if (last.at == last.floor)
    choices_.pop_back();
  return true;
}

text::Matcher::Search ProgramMatcher::Searcher::matchAt(std::string_view text, size_t start, Found &place) const {
  choices_.clear();
  size_t at = start, floor = 0;
  for (uint32_t pc = 0; looks_ > 0;) {
    const ProgramStep &step = p_.steps_[pc++];
    bool good = true;
    switch (step.op) {
    case ProgramStep::Accept:
      place = {start, at};
      return Search::Found;
    case ProgramStep::Run:
      good = run(step, text, at, floor);
      if (good && !step.keep && at > floor)
        choices_.push_back({pc, at, floor});
      break;
    case ProgramStep::Alternative:
      choices_.push_back({step.target, at, at});
      break;
    case ProgramStep::Jump:
      pc = step.target;
      break;
    default:
      good = p_.passes(step, text, at);
    }
    if (!good && !goBack(text, pc, at))
      return Search::None;
  }
  return Search::GaveUp;
}

} // namespace

Result<std::unique_ptr<text::Matcher>> text::Matcher::create(const tokenizer::Matcher &description,
                                                             const std::vector<CharSet> &sets) {
  std::unique_ptr<Matcher> matcher;
  switch (description.kind) {
  case tokenizer::Matcher::Set:
    matcher = std::make_unique<SetMatcher>(sets[description.set]);
    break;
  case tokenizer::Matcher::Literal:
    matcher = std::make_unique<LiteralMatcher>(description.text);
    break;
  case tokenizer::Matcher::Program:
    matcher = std::make_unique<ProgramMatcher>(description.program, sets);
    break;
  case tokenizer::Matcher::Regex:
    return createRegexMatcher(description.text);
  }
  return matcher;
}

Status text::Matcher::findAll(std::string_view text, std::vector<Found> &found) const {
  size_t from = 0;
  bool any = false;
  for (Found place; from <= text.size();) {
    Search result = next(text, from, place);
    if (result == Search::GaveUp)
      return limitExceeded("E1411", "a split expression of the tokenizer passed its step limit at byte " +
                                        std::to_string(from) + " of the text");
    if (result == Search::None)
      break;
    if (place.begin == place.end && any && found.back().end == place.end) {
      if (from < text.size())
        nextChar(text, from);
      else
        ++from;
      continue;
    }
    found.push_back(place);
    any = true;
    from = place.end;
  }
  return {};
}

Status text::Matcher::cut(std::string_view text, std::vector<Stretch> &stretches) const {
  stretches.clear();
  if (text.empty()) {
    stretches.push_back({0, 0, false});
    return {};
  }
  std::vector<Found> found;
  Status status = findAll(text, found);
  size_t last = 0;
  for (const Found &place : found) {
    if (last != place.begin)
      stretches.push_back({last, place.begin, false});
    stretches.push_back({place.begin, place.end, true});
    last = place.end;
  }
  if (last != text.size())
    stretches.push_back({last, text.size(), false});
  return status;
}
