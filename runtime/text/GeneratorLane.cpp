//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/text/GeneratorLane.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;

std::string StopFinder::push(std::string_view piece) {
  kept_ += piece;
  size_t stop = kept_.npos;
  for (const std::string &text : stops_)
    if (!text.empty())
      stop = std::min(stop, kept_.find(text));
  if (stop != kept_.npos) {
    found_ = true;
    kept_.resize(stop);
    return flush();
  }
  // The longest end of the text that begins a stop string.
  size_t keep = 0;
  for (const std::string &text : stops_)
    for (size_t length = std::min(text.size(), kept_.size()); length > keep; --length)
      if (kept_.ends_with(std::string_view(text).substr(0, length)))
        keep = length;
  std::string shown = kept_.substr(0, kept_.size() - keep);
  kept_.erase(0, shown.size());
  return shown;
}

std::string StopFinder::flush() { return std::exchange(kept_, {}); }

Lane::Lane(const LaneContext &context, std::span<const int32_t> prompt, uint64_t stream)
    : context_(context), sampler_(context.options.sampling, stream), stops_(context.options.stop), tokens_(prompt.begin(), prompt.end()) {
  if (context.tokenizer)
    decoder_.emplace(context.tokenizer);
  // The decoder sees the prompt too: whether a space belongs before the answer depends on it.
  if (decoder_ && context.promptIsText)
    for (int32_t id : prompt)
      (void)decoder_->push(id);
  result_.promptTokens = prompt.size();
  if (context.options.maxTokens == 0)
    finish(StopReason::MaxTokens);
}

void Lane::finish(StopReason reason) {
  done_ = true;
  result_.reason = reason;
}

const TokenChoice *Lane::choice() {
  choice_ = sampler_.nextChoice();
  return choice_ ? &*choice_ : nullptr;
}

Status Lane::accept(std::span<const float> logits) { return append(sampler_.sample(logits, tokens_)); }

Status Lane::accept(int32_t drawn) {
  sampler_.skip();
  return append(drawn < 0 ? std::nullopt : std::optional(drawn));
}

Status Lane::append(std::optional<int32_t> id) {
  if (!id)
    return internalError("E1510", "the model's logits are not numbers");
  tokens_.push_back(*id);
  result_.ids.push_back(*id);
  if (result_.ids.size() == 1)
    firstToken_ = Clock::now();
  bool end = std::find(context_.endIds.begin(), context_.endIds.end(), *id) != context_.endIds.end();
  std::string text;
  if (end && !context_.options.ignoreEndToken) {
    finish(StopReason::EndToken);
  } else if (decoder_) {
    // An id beyond the tokenizer's pieces (padding of the vocabulary) has no text.
    Result<std::string> piece = decoder_->push(*id);
    text = stops_.push(piece.ok() ? *piece : std::string());
    if (stops_.found())
      finish(StopReason::StopString);
  }
  if (!done_ && result_.ids.size() >= context_.options.maxTokens)
    finish(StopReason::MaxTokens);
  if (!done_ && context_.contextLength && tokens_.size() > context_.contextLength)
    finish(StopReason::ContextFull);
  if (done_ && decoder_ && !stops_.found()) {
    text += stops_.push(decoder_->flush());
    text += stops_.flush();
  }
  result_.text += text;
  if (context_.onToken && !context_.onToken(*id, text))
    finish(StopReason::Cancelled);
  return {};
}

Generation Lane::take() {
  using Seconds = std::chrono::duration<double>;
  result_.promptSeconds = Seconds(firstToken_ - begin_).count();
  result_.seconds = Seconds(Clock::now() - firstToken_).count();
  return std::move(result_);
}
