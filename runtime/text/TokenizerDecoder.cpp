//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerDecoder.h"

#include "TokenizerUtf8.h"

#include <optional>
#include <utility>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::DecodeStep;

std::string text::replaceAll(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  while (!text.empty()) {
    size_t at = what.empty() ? text.npos : text.find(what);
    out += text.substr(0, at);
    if (at == text.npos)
      break;
    out += by;
    text.remove_prefix(at + what.size());
  }
  return out;
}

namespace {

/// The end of the pipe.
class Sink final : public DecodeStage {
public:
  void take(const Fragment &fragment) override { text += fragment.text; }
  void finish() override {}
  std::string text;
};

class MetaspaceStage final : public TokenStage {
public:
  explicit MetaspaceStage(const DecodeStep &step) : step_(step) {}
  void finish() override {
    first_ = true;
    next_->finish();
  }

private:
  void token(std::string_view text) override {
    bool drop = std::exchange(first_, false) && step_.flag;
    give(replaceAll(text, step_.text, drop ? "" : " "));
  }
  const DecodeStep &step_;
  bool first_ = true;
};

/// The suffix of a token is a space, unless it is the last: so each waits for the next.
class BpeSuffixStage final : public TokenStage {
public:
  explicit BpeSuffixStage(const DecodeStep &step) : step_(step) {}
  void finish() override {
    if (waiting_)
      give(replaceAll(*waiting_, step_.text, ""));
    waiting_.reset();
    next_->finish();
  }

private:
  void token(std::string_view text) override {
    std::optional<std::string> before = std::exchange(waiting_, std::string(text));
    if (before)
      give(replaceAll(*before, step_.text, " "));
  }
  const DecodeStep &step_;
  std::optional<std::string> waiting_;
};

class ReplaceStage final : public TokenStage {
public:
  ReplaceStage(const DecodeStep &step, const Matcher &matcher) : step_(step), matcher_(matcher) {}

private:
  void token(std::string_view text) override {
    std::vector<Stretch> stretches;
    // A search that gives up leaves the rest of the token as it is.
    (void)matcher_.cut(text, stretches);
    std::string out;
    for (const Stretch &stretch : stretches)
      out += stretch.found ? std::string_view(step_.text) : text.substr(stretch.begin, stretch.end - stretch.begin);
    give(out);
  }
  const DecodeStep &step_;
  const Matcher &matcher_;
};

class FuseStage final : public DecodeStage {
public:
  void take(const Fragment &fragment) override {
    if (!fragment.text.empty())
      give(fragment.text, !std::exchange(begun_, true), false);
  }
  void finish() override {
    give({}, !std::exchange(begun_, false), true);
    next_->finish();
  }

private:
  bool begun_ = false;
};

/// Characters at the start of a token go at once; those at its end can only be seen when all of it is there.
class StripStage final : public DecodeStage {
public:
  explicit StripStage(const DecodeStep &step) : step_(step) {}
  void take(const Fragment &fragment) override {
    if (fragment.begins)
      left_ = step_.number;
    std::string_view text = fragment.text;
    while (left_ > 0 && !text.empty()) {
      bool strip = !step_.text.empty() && text.starts_with(step_.text);
      text.remove_prefix(strip ? step_.text.size() : 0);
      left_ = strip ? left_ - 1 : 0;
    }
    if (step_.number2 == 0)
      return give(text, fragment.begins, fragment.ends);
    waiting_ += text;
    if (fragment.ends)
      giveWithoutEnd();
  }

private:
  void giveWithoutEnd() {
    std::string text = std::exchange(waiting_, {});
    for (uint32_t i = 0; i < step_.number2 && !step_.text.empty() && text.ends_with(step_.text); ++i)
      text.resize(text.size() - step_.text.size());
    give(text);
  }
  const DecodeStep &step_;
  uint32_t left_ = 0;
  std::string waiting_;
};

class JoinStage final : public DecodeStage {
public:
  void take(const Fragment &fragment) override {
    if (fragment.begins && !std::exchange(first_, false))
      give(" ");
    give(fragment.text);
  }
  void finish() override {
    first_ = true;
    next_->finish();
  }

private:
  bool first_ = true;
};

} // namespace

std::unique_ptr<DecodeStage> text::createDecodeStage(const DecodeStep &step, const Matcher *matcher, bool eager) {
  switch (step.op) {
  case DecodeStep::Bytes:
    return createBytesStage();
  case DecodeStep::WordPiece:
  case DecodeStep::Ctc:
  case DecodeStep::CleanUp:
    return createTidyStage(step);
  case DecodeStep::Metaspace:
    return std::make_unique<MetaspaceStage>(step);
  case DecodeStep::BpeSuffix:
    return std::make_unique<BpeSuffixStage>(step);
  case DecodeStep::Replace:
    return std::make_unique<ReplaceStage>(step, *matcher);
  case DecodeStep::Fuse:
    return std::make_unique<FuseStage>();
  case DecodeStep::Strip:
    return std::make_unique<StripStage>(step);
  case DecodeStep::ByteFallback:
    return createByteFallbackStage(eager);
  case DecodeStep::JoinSpaces:
    return std::make_unique<JoinStage>();
  case DecodeStep::SentencePiece:
    return createSentencePieceStage(step);
  }
  return std::make_unique<FuseStage>();
}

Result<DecodePlan> DecodePlan::create(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets) {
  DecodePlan plan;
  for (const DecodeStep &step : data.decode) {
    std::unique_ptr<Matcher> matcher;
    if (step.op == DecodeStep::Replace) {
      LLMOPT_ASSIGN(matcher, Matcher::create(step.matcher, sets));
    }
    plan.steps_.push_back({step, std::move(matcher)});
  }
  return plan;
}

DecodeChain::DecodeChain(const DecodePlan &plan, bool eager) {
  for (const DecodePlan::Step &step : plan.steps_)
    stages_.push_back(createDecodeStage(step.description, step.matcher.get(), eager));
  stages_.push_back(std::make_unique<Sink>());
  for (size_t i = 0; i + 1 < stages_.size(); ++i)
    stages_[i]->connect(stages_[i + 1].get());
  first_ = stages_.front().get();
}

DecodeChain::~DecodeChain() = default;

std::string DecodeChain::takeText() { return std::exchange(static_cast<Sink &>(*stages_.back()).text, {}); }
