//===- SampleTest.cpp - from logits to tokens, emulated -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/division.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

#include <algorithm>

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/sample.cuh"

namespace no_barrier { // injected: barriers are missing
#define blockSync()
#include "codegen/CUDA/kernels/sample.cuh"
#undef blockSync
} // namespace no_barrier

struct Threads {
  static constexpr int kThreads = 256;
};

template <class Family>
void entry(const float *logits, i64 rows, i64 width, const TokenChoice *choices, i32 *tokens) {
  Family::run(logits, rows, width, choices, tokens);
}

template <class Family>
std::vector<i32> draw(const char *mode, const std::vector<float> &logits, i64 width, const std::vector<TokenChoice> &choices,
                      std::string *complaint = nullptr) {
  Buffer<float> from(logits.size());
  std::copy(logits.begin(), logits.end(), from.data());
  Buffer<TokenChoice> how(choices.size());
  std::copy(choices.begin(), choices.end(), how.data());
  Buffer<i32> tokens(choices.size(), -7);
  std::string said = launch(mode, entry<Family>, 3, Threads::kThreads, 0, from.data(), i64(choices.size()), width, how.data(), tokens.data());
  if (complaint)
    *complaint = said;
  else
    EXPECT_EQ(said, "");
  return {tokens.data(), tokens.data() + choices.size()};
}

/// In double, by sorting: the rules of runtime/Sampler.h.
i32 expected(const float *logits, i64 width, const TokenChoice &choice) {
  std::vector<std::pair<double, i32>> all;
  for (i64 i = 0; i < width; ++i)
    if (logits[i] == logits[i])
      all.emplace_back(logits[i], i32(i));
  if (all.empty())
    return -1;
  std::sort(all.begin(), all.end(), [](auto &a, auto &b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (choice.temperature <= 0 || std::isinf(all[0].first))
    return all[0].second;
  if (choice.topK > 0 && size_t(choice.topK) < all.size())
    all.resize(size_t(choice.topK));
  double sum = 0, kept = 0, greatest = all[0].first;
  for (auto &[value, id] : all)
    sum += value = std::exp((value - greatest) / choice.temperature);
  size_t count = 0;
  while (count < all.size() && (count == 0 || kept < choice.topP * sum))
    kept += all[count++].first;
  all.resize(count);
  std::erase_if(all, [&](auto &c) { return c.first < choice.minP; });
  sum = 0;
  for (auto &[value, id] : all)
    sum += value;
  double point = choice.point * sum;
  for (auto &[value, id] : all)
    if ((point -= value) < 0)
      return id;
  return all.back().second;
}

/// Rows of different kinds: spread, close together, with equals, infinities and no numbers.
std::vector<float> makeLogits(i64 rows, i64 width) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> logits(size_t(rows * width));
  for (i64 row = 0; row < rows; ++row)
    for (i64 i = 0; i < width; ++i) {
      float value = normal(random);
      value = row % 5 == 0 ? value * 4 : row % 5 == 1 ? 30 + value * 1e-3f : row % 5 == 2 ? std::round(value) : row % 5 == 3 ? value - 8 : value * 100;
      if (row % 5 == 3 && i % 7 == 0)
        value = i % 2 ? -INFINITY : NAN;
      logits[size_t(row * width + i)] = value;
    }
  return logits;
}

TEST(Sample, Greedy) {
  for (i64 width : {1, 3, 517, 2048}) {
    std::vector<float> logits = makeLogits(10, width);
    for (i64 i = 0; i < width; ++i) {
      logits[size_t(4 * width + i)] = NAN;
      logits[size_t(5 * width + i)] = i % 2 ? 0.0f : -0.0f; // equal
      logits[size_t(6 * width + i)] = -INFINITY;
    }
    logits[size_t(7 * width)] = INFINITY;
    for (const char *mode : kModes) {
      std::vector<i32> got = draw<Sample<Threads>>(mode, logits, width, std::vector<TokenChoice>(10, TokenChoice{0, 1, 0, 0, 0}));
      for (i64 row = 0; row < 10; ++row)
        EXPECT_EQ(got[size_t(row)], expected(logits.data() + row * width, width, {})) << width << ", row " << row << " " << mode;
      EXPECT_EQ(got[4], -1);
      EXPECT_EQ(got[5], 0);
    }
  }
}

TEST(Sample, DrawsAsTheHostDoes) {
  constexpr i64 kRows = 150;
  std::mt19937 random(11);
  std::uniform_real_distribution<double> uniform;
  for (i64 width : {1, 37, 1000, 2052}) {
    std::vector<float> logits = makeLogits(kRows, width);
    std::vector<TokenChoice> choices;
    for (i64 row = 0; row < kRows; ++row) {
      TokenChoice choice{row % 3 == 0 ? 1.0 : row % 3 == 1 ? 0.7 : 1e-3, row / 3 % 2 ? 0.9 : 1, row / 6 % 2 ? 0.05 : 0, uniform(random), 0};
      choice.topK = row / 12 % 4 == 0 ? 0 : row / 12 % 4 == 1 ? 1 : row / 12 % 4 == 2 ? 40 : 5000;
      choices.push_back(choice);
    }
    choices[20].temperature = 1e-300, choices[21].temperature = 1e300;
    std::vector<i32> got = draw<Sample<Threads>>("", logits, width, choices);
    for (i64 row = 0; row < kRows; ++row)
      EXPECT_EQ(got[size_t(row)], expected(logits.data() + row * width, width, choices[size_t(row)])) << width << ", row " << row;
    EXPECT_EQ(draw<Sample<Threads>>("reverse", logits, width, choices), got);
  }
}

TEST(Sample, InjectedErrorsAreCaught) {
  std::vector<float> logits = makeLogits(10, 517);
  std::vector<TokenChoice> choices(10, TokenChoice{1, 0.9, 0, 0.7, 40});
  std::vector<i32> right = draw<Sample<Threads>>("", logits, 517, choices);
  for (const char *mode : {"", "reverse"}) {
    std::string complaint;
    std::vector<i32> wrong = draw<no_barrier::Sample<Threads>>(mode, logits, 517, choices, &complaint);
    EXPECT_TRUE(!complaint.empty() || wrong != right) << mode;
  }
}

} // namespace
