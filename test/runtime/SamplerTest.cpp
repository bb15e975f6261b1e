//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Sampler.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <random>

using namespace llmopt;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

// Known answers of the reference implementation (Random123, kat_vectors).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Argmax, TiesAndOddNumbers) {
  EXPECT_EQ(argmax(std::vector<float>{1, 5, 5, 2}), 1);
  EXPECT_EQ(argmax(std::vector<float>{kNan, -3, kNan, -2}), 3);
  EXPECT_EQ(argmax(std::vector<float>{-kInf, -kInf}), 0);
  EXPECT_EQ(argmax(std::vector<float>{kNan, kNan}), std::nullopt);
  EXPECT_EQ(argmax({}), std::nullopt);
}

/// Share of each token in many draws.
std::map<int32_t, double> shares(const SamplingOptions &options, const std::vector<float> &logits, std::span<const int32_t> seen = {}) {
  Sampler sampler(options);
  std::map<int32_t, double> counts;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i)
    counts[*sampler.sample(logits, seen)] += 1.0 / kDraws;
  return counts;
}

const std::vector<float> kLogits = {std::log(0.5f), std::log(0.1f), std::log(0.3f), std::log(0.06f), std::log(0.04f)};

TEST(Sampler, FollowsTheDistribution) {
  std::map<int32_t, double> found = shares({.temperature = 1, .seed = 3}, kLogits);
  double chiSquare = 0, expected[] = {0.5, 0.1, 0.3, 0.06, 0.04};
  for (int id = 0; id < 5; ++id)
    chiSquare += 100000 * (found[id] - expected[id]) * (found[id] - expected[id]) / expected[id];
  EXPECT_LT(chiSquare, 18.5); // 0.1 % of correct samplers fail at four degrees of freedom
}

TEST(Sampler, Temperature) {
  std::map<int32_t, double> sharp = shares({.temperature = 0.5}, kLogits);
  EXPECT_NEAR(sharp[0], 0.25 / (0.25 + 0.01 + 0.09 + 0.0036 + 0.0016), 0.01);
  EXPECT_EQ(shares({.temperature = 0}, kLogits).size(), 1u);
}

TEST(Sampler, TopKKeepsTheLowestIdAmongEquals) {
  std::map<int32_t, double> found = shares({.temperature = 1, .topK = 2}, kLogits);
  EXPECT_EQ(found.size(), 2u);
  EXPECT_NEAR(found[0], 0.5 / 0.8, 0.01);
  std::map<int32_t, double> ties = shares({.temperature = 1, .topK = 2}, {0, 1, 1, 1});
  EXPECT_EQ(ties.count(3), 0u);
}

TEST(Sampler, TopPAndMinP) {
  EXPECT_EQ(shares({.temperature = 1, .topP = 0.79}, kLogits).size(), 2u);
  EXPECT_EQ(shares({.temperature = 1, .topP = 0.81}, kLogits).size(), 3u);
  EXPECT_EQ(shares({.temperature = 1, .topP = 0}, kLogits).size(), 1u);
  EXPECT_EQ(shares({.temperature = 1, .minP = 0.19}, kLogits).size(), 3u);
  EXPECT_EQ(shares({.temperature = 1, .minP = 0.21}, kLogits).size(), 2u);
}

TEST(Sampler, RepetitionPenalty) {
  SamplingOptions options{.repetitionPenalty = 2};
  std::vector<int32_t> seen = {1, 1, 99, -4};
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{3, 5, 2}, seen), 0);    // 5 becomes 2.5, once
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{-3, -2, -5}, seen), 0); // -2 becomes -4
}

/// What a draw at `point` gives, by the definition: all tokens sorted.
int32_t drawnBySorting(const SamplingOptions &options, const std::vector<float> &logits, double point) {
  std::vector<std::pair<double, int32_t>> tokens;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -kInf)
      tokens.emplace_back(-double(logits[i]), int32_t(i));
  std::sort(tokens.begin(), tokens.end());
  if (options.topK > 0 && size_t(options.topK) < tokens.size())
    tokens.resize(size_t(options.topK));
  auto weight = [&](size_t i) { return std::exp((tokens.front().first - tokens[i].first) / options.temperature); };
  double sum = 0, kept = 0;
  for (size_t i = 0; i < tokens.size(); ++i)
    sum += weight(i);
  size_t count = 0;
  while (count < tokens.size() && (count == 0 || ((options.topP == 1 || kept < options.topP * sum) && weight(count) >= options.minP)))
    kept += weight(count++);
  point *= kept;
  for (size_t i = 0; i < count; ++i)
    if ((point -= weight(i)) < 0)
      return tokens[i].second;
  return tokens[count - 1].second;
}

TEST(Sampler, DrawsAsIfAllWereSorted) {
  std::mt19937 random(5);
  for (size_t width : {1, 2, 17, 1000, 40000})
    for (float spread : {0.0f, 0.001f, 1.0f, 4.0f, 300.0f})
      for (SamplingOptions options : {SamplingOptions{}, {.topP = 0.9}, {.topP = 0.01}, {.topP = 0}, {.minP = 0.05}, {.minP = 1}, {.topP = 0.6, .minP = 1e-3}, {.topP = 1 - 1e-9, .minP = 1e-30},
                                      {.topK = 1}, {.topK = 7, .topP = 0.8}, {.topK = 900, .minP = 0.01}})
        for (double temperature : {0.02, 1.0, 50.0}) {
          options.temperature = temperature;
          options.seed = random();
          std::vector<float> logits(width);
          std::normal_distribution<float> normal(-3, 1);
          for (float &logit : logits) // some equal, some that are none
            logit = random() % 16 == 0 ? -kInf : random() % 16 == 0 ? kNan : std::round(spread * normal(random) * 64) / 64;
          logits[width / 2] = 0;
          Sampler sampler(options);
          for (int draw = 0; draw < 3; ++draw) {
            double point = sampler.nextChoice()->point;
            ASSERT_EQ(*sampler.sample(logits, {}), drawnBySorting(options, logits, point))
                << width << " tokens, spread " << spread << ", temperature " << temperature << ", top-k " << options.topK << ", top-p " << options.topP << ", min-p " << options.minP;
          }
        }
}

TEST(Sampler, SameSeedSameDraws) {
  auto draws = [](uint64_t seed, uint64_t stream) {
    Sampler sampler({.temperature = 1, .seed = seed}, stream);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i)
      ids.push_back(*sampler.sample(kLogits, {}));
    return ids;
  };
  EXPECT_EQ(draws(1, 0), draws(1, 0));
  EXPECT_NE(draws(1, 0), draws(2, 0));
  EXPECT_NE(draws(1, 0), draws(1, 1));
}

TEST(Sampler, OddLogits) {
  SamplingOptions options{.temperature = 1};
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{kNan, kNan}, {}), std::nullopt);
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{-kInf, 2, kNan}, {}), 1);
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{0, kInf}, {}), 1);
}

} // namespace
