//===- GeneratorLane.h - one answer in the making ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_GENERATORLANE_H
#define LLMOPT_RUNTIME_TEXT_GENERATORLANE_H

#include "llmopt/runtime/Generator.h"

#include <chrono>

namespace llmopt::text {

/// Looks for stop strings in a text that comes in pieces, and keeps back what could become one.
class StopFinder {
public:
  explicit StopFinder(const std::vector<std::string> &stops) : stops_(stops) {}
  /// The text that can be shown now. After a stop string was found, `found` is true and nothing more comes.
  std::string push(std::string_view piece);
  std::string flush();
  bool found() const { return found_; }

private:
  const std::vector<std::string> &stops_;
  std::string kept_;
  bool found_ = false;
};

/// What all answers of a call share.
struct LaneContext {
  const GenerateOptions &options;
  const std::vector<int32_t> &endIds;
  std::shared_ptr<const Tokenizer> tokenizer; ///< may be null
  size_t contextLength = 0;                   ///< 0: no limit
  bool promptIsText = true;                   ///< the answer goes on from it (decoders)
  const TokenCallback &onToken;
};

/// Takes logits, samples, decodes and decides when the answer ends.
class Lane {
public:
  Lane(const LaneContext &context, std::span<const int32_t> prompt, uint64_t stream);

  /// The token after these logits becomes part of the answer. E1510 when no logit is a number.
  Status accept(std::span<const float> logits);
  /// The same with a token that was drawn as `choice` says; -1: no logit is a number.
  Status accept(int32_t drawn);
  /// How the next token is to be drawn, if somebody else can; valid until it is accepted.
  const TokenChoice *choice();
  bool done() const { return done_; }
  /// Prompt and answer; the last one is what the model has not seen yet.
  const std::vector<int32_t> &tokens() const { return tokens_; }
  Generation take();

private:
  using Clock = std::chrono::steady_clock;
  void finish(StopReason reason);
  Status append(std::optional<int32_t> id);
  const LaneContext &context_;
  Sampler sampler_;
  std::optional<TokenChoice> choice_;
  std::optional<StreamDecoder> decoder_;
  StopFinder stops_;
  std::vector<int32_t> tokens_;
  Generation result_;
  bool done_ = false;
  Clock::time_point begin_ = Clock::now(), firstToken_ = begin_;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_GENERATORLANE_H
