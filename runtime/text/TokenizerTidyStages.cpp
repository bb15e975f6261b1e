//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerDecoder.h"

#include <array>
#include <optional>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::DecodeStep;

/// Undoes the spaces that splitting put before English punctuation and contractions. One of the two places that do so
/// also contracts "do not".
static std::string tidy(std::string text, bool doNot) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {{{" .", "."},
                                                                                     {" ?", "?"},
                                                                                     {" !", "!"},
                                                                                     {" ,", ","},
                                                                                     {" ' ", "'"},
                                                                                     {" n't", "n't"},
                                                                                     {" 'm", "'m"},
                                                                                     {" do not", " don't"},
                                                                                     {" 's", "'s"},
                                                                                     {" 've", "'ve"},
                                                                                     {" 're", "'re"}}};
  if (text.find(' ') == text.npos)
    return text;
  for (auto [from, to] : kRules)
    if (doNot || from != " do not")
      text = replaceAll(text, from, to);
  return text;
}

namespace {

class WordPieceStage final : public TokenStage {
public:
  explicit WordPieceStage(const DecodeStep &step) : step_(step) {}
  void finish() override {
    first_ = true;
    next_->finish();
  }

private:
  void token(std::string_view text) override {
    std::string out(text);
    if (!std::exchange(first_, false))
      out = text.starts_with(step_.text) ? std::string(text.substr(step_.text.size())) : " " + out;
    give(step_.flag ? tidy(std::move(out), true) : out);
  }
  const DecodeStep &step_;
  bool first_ = true;
};

class CtcStage final : public TokenStage {
public:
  explicit CtcStage(const DecodeStep &step) : step_(step) {}
  void finish() override {
    last_.reset();
    next_->finish();
  }

private:
  void token(std::string_view text) override {
    if (last_ == text)
      return;
    last_ = text;
    std::string out = replaceAll(text, step_.text, "");
    if (step_.flag)
      out = replaceAll(tidy(std::move(out), true), step_.text2, " ");
    if (!out.empty())
      give(out);
  }
  const DecodeStep &step_;
  std::optional<std::string> last_;
};

/// Works on the text as a whole, so what may still become part of " n't" and the like is kept back.
class CleanUpStage final : public DecodeStage {
public:
  void take(const Fragment &fragment) override {
    waiting_ += fragment.text;
    size_t certain = certainEnd();
    if (certain > 0)
      give(tidy(waiting_.substr(0, certain), false));
    waiting_.erase(0, certain);
  }
  void finish() override {
    give(tidy(std::exchange(waiting_, {}), false));
    next_->finish();
  }

private:
  /// Every rule begins with a space and goes on with an apostrophe or, in " n't", a letter. Removed spaces may bring
  /// others together, so a whole run of spaces and apostrophes waits.
  size_t certainEnd() const {
    std::string_view text = waiting_;
    for (std::string_view front : {" n", " n'", "'v", "'r"})
      if (text.ends_with(front)) {
        text.remove_suffix(front.size() - 1);
        break;
      }
    while (text.ends_with(' ') || text.ends_with('\''))
      text.remove_suffix(1);
    return text.size();
  }
  std::string waiting_;
};

} // namespace

std::unique_ptr<DecodeStage> text::createTidyStage(const DecodeStep &step) {
  if (step.op == DecodeStep::WordPiece)
    return std::make_unique<WordPieceStage>(step);
  if (step.op == DecodeStep::Ctc)
    return std::make_unique<CtcStage>(step);
  return std::make_unique<CleanUpStage>();
}
