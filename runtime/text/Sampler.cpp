//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Sampler.h"

#include <algorithm>
#include <cmath>

using namespace llmopt;

std::array<uint32_t, 4> llmopt::philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t first = uint64_t(0xD2511F53) * counter[0], second = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(second >> 32) ^ counter[1] ^ key[0], uint32_t(second), uint32_t(first >> 32) ^ counter[3] ^ key[1], uint32_t(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// In [0, 1), 53 bits.
static double uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  std::array<uint32_t, 4> words = philox4x32({uint32_t(index), uint32_t(index >> 32), uint32_t(stream), uint32_t(stream >> 32)},
                                             {uint32_t(seed), uint32_t(seed >> 32)});
  return double((uint64_t(words[0]) << 21) ^ (words[1] >> 11)) * 0x1p-53;
}

Status SamplingOptions::check() const {
  struct Row {
    const char *name, *wanted;
    double value;
    bool fits; // false for NaN
  };
  const Row rows[] = {{"temperature", "a number from 0 on", temperature, temperature >= 0 && std::isfinite(temperature)},
                      {"top-k", "a number from 0 on", double(topK), topK >= 0},
                      {"top-p", "0 to 1", topP, topP >= 0 && topP <= 1},
                      {"min-p", "0 to 1", minP, minP >= 0 && minP <= 1},
                      {"repetition penalty", "a number above 0", repetitionPenalty, repetitionPenalty > 0 && std::isfinite(repetitionPenalty)}};
  for (const Row &row : rows)
    if (!row.fits)
      return usageError("E1514", std::string("sampling: ") + row.name + " is " + std::to_string(row.value) + ", expected " + row.wanted);
  return {};
}

std::optional<int32_t> llmopt::argmax(std::span<const float> logits) {
  float best = -INFINITY;
  std::optional<int32_t> id;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best || (!id && logits[i] == best)) { // false for NaN
      best = logits[i];
      id = int32_t(i);
    }
  return id;
}

std::span<const float> Sampler::penalized(std::span<const float> logits, std::span<const int32_t> seen) {
  if (options_.repetitionPenalty == 1)
    return logits;
  logits_.assign(logits.begin(), logits.end());
  float penalty = float(options_.repetitionPenalty);
  for (int32_t id : seen) // from the original, so that a token counts once
    if (id >= 0 && size_t(id) < logits.size())
      logits_[size_t(id)] = logits[size_t(id)] > 0 ? logits[size_t(id)] / penalty : logits[size_t(id)] * penalty;
  return logits_;
}

static bool isBetter(const std::pair<double, int32_t> &a, const std::pair<double, int32_t> &b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

/// Candidates become the best of the logits, best first, lowest id among equals.
void Sampler::keepTopK(std::span<const float> logits) {
  size_t keep = size_t(options_.topK);
  float bound = -INFINITY; // what is not above it is none of them
  auto cut = [&] {
    std::nth_element(candidates_.begin(), candidates_.begin() + long(keep) - 1, candidates_.end(), isBetter);
    candidates_.resize(keep);
    bound = float(candidates_.back().first);
  };
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > bound) { // false for NaN
      candidates_.emplace_back(logits[i], int32_t(i));
      if (candidates_.size() >= 2 * keep + 64)
        cut();
    }
  if (candidates_.size() > keep)
    cut();
  std::sort(candidates_.begin(), candidates_.end(), isBetter);
}

/// Candidates hold probabilities.
void Sampler::keepTopP() {
  double sum = 0;
  size_t keep = 0;
  while (keep < candidates_.size() && (keep == 0 || sum < options_.topP))
    sum += candidates_[keep++].first;
  candidates_.resize(keep);
  double least = options_.minP * candidates_.front().first;
  auto rare = std::find_if(candidates_.begin() + 1, candidates_.end(), [&](const auto &c) { return c.first < least; });
  candidates_.erase(rare, candidates_.end());
}

std::optional<TokenChoice> Sampler::nextChoice() const {
  if (options_.repetitionPenalty != 1)
    return std::nullopt;
  return TokenChoice{options_.temperature, options_.topP, options_.minP, uniform(options_.seed, stream_, drawn_), options_.topK};
}

std::optional<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> seen) {
  uint64_t index = drawn_++;
  logits = penalized(logits, seen);
  std::optional<int32_t> best = argmax(logits);
  if (options_.temperature <= 0 || !best)
    return best;
  float greatest = logits[size_t(*best)];
  if (std::isinf(greatest))
    return best;
  double point = uniform(options_.seed, stream_, index);
  if (options_.topK <= 0 || uint64_t(options_.topK) >= logits.size())
    return drawFromAll(logits, greatest, point);
  keepTopK(logits);
  return drawSorted(point);
}

int32_t Sampler::drawSorted(double point) {
  double greatest = candidates_.front().first, sum = 0;
  for (auto &[value, id] : candidates_)
    sum += value = std::exp((value - greatest) / options_.temperature);
  for (auto &[value, id] : candidates_)
    value /= sum;
  keepTopP();
  sum = 0;
  for (auto &[value, id] : candidates_)
    sum += value;
  point *= sum;
  for (auto &[value, id] : candidates_)
    if ((point -= value) < 0)
      return id;
  return candidates_.back().second;
}
