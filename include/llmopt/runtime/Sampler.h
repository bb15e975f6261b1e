//===- Sampler.h - from logits to the next token ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The order is fixed: repetition penalty, temperature, top-k, top-p, min-p, then one draw. Random numbers are
// Philox4x32-10 (Salmon et al., SC 2011) keyed by the seed and counted by (stream, token), so a token depends on nothing
// but the seed, its stream and its place: not on the batch, not on other sequences.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_SAMPLER_H
#define LLMOPT_RUNTIME_SAMPLER_H

#include "llmopt/lib/Artifact/TokenChoice.h"
#include "llmopt/lib/Support/Status.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace llmopt {

struct SamplingOptions {
  double temperature = 0;       ///< 0: greedy; equal logits go to the lowest id
  int64_t topK = 0;             ///< keep the k most probable; 0: all
  double topP = 1;              ///< keep the most probable until their sum reaches this
  double minP = 0;              ///< keep what has at least this share of the most probable
  double repetitionPenalty = 1; ///< of tokens seen: positive logits divided by it, others multiplied (arXiv:1909.05858)
  uint64_t seed = 0;

  /// E1514 names the first that is no number or outside its range: temperature 0 and up, top-k 0 and up, top-p and min-p 0 to 1, penalty above 0.
  Status check() const;
};

class Sampler {
public:
  explicit Sampler(const SamplingOptions &options, uint64_t stream = 0) : options_(options), stream_(stream) {}
  /// The next token; `seen` are prompt and answer so far. Nothing if no logit is a number.
  std::optional<int32_t> sample(std::span<const float> logits, std::span<const int32_t> seen);
  /// The same draw for somebody else to make (`SequenceInput::choice`). Nothing with a repetition penalty, which needs the tokens seen.
  std::optional<TokenChoice> nextChoice() const;
  /// The draw of `nextChoice` was made.
  void skip() { ++drawn_; }

private:
  std::span<const float> penalized(std::span<const float> logits, std::span<const int32_t> seen);
  void keepTopK(std::span<const float> logits);
  void keepTopP();
  int32_t drawSorted(double point);
  int32_t drawFromAll(std::span<const float> logits, float greatest, double point);
  SamplingOptions options_;
  uint64_t stream_, drawn_ = 0;
  std::vector<float> logits_;                          ///< with penalties
  std::vector<std::pair<double, int32_t>> candidates_; ///< of top-k: logit, later probability, and id; best first
  std::vector<uint16_t> buckets_;                      ///< without top-k: of each token
  std::vector<double> masses_;                         ///< of each bucket
};

/// Position and value of the greatest logit, lowest id first. Nothing if none is a number.
std::optional<int32_t> argmax(std::span<const float> logits);

/// Four words of the counter-based generator.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_SAMPLER_H
