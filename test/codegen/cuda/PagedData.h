//===- PagedData.h - a step over the cache and its attention ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_CODEGEN_CUDA_PAGEDDATA_H
#define LLMOPT_TEST_CODEGEN_CUDA_PAGEDDATA_H

#include "EmulatedKernel.h"

#include <numeric>

namespace llmopt::test {

/// A step of several sequences over a cache whose blocks are scattered; what was never written is NaN.
template <class Problem>
struct Step {
  typedef typename Problem::Cache Cache;
  static constexpr int kD = Problem::kKeySize, kE = Problem::kValueSize, kGroup = Problem::kHeads / Problem::kKvHeads;
  std::vector<SequenceRow> rows;
  std::vector<i32> blocks;
  std::vector<u32> sequenceOf;
  std::vector<i64> positions;
  StepTable table;
  std::vector<std::vector<float>> keys, values; ///< of each sequence: [length][kv heads][size]
  Buffer<float> query, frequencies, slopes, bias, sinks, output;
  std::unique_ptr<Buffer<Cache>> cache;

  /// (past, count) of each sequence.
  explicit Step(std::vector<std::pair<u32, u32>> sequences)
      : query(tokensOf(sequences) * Problem::kHeads * kD), frequencies(std::max(1, Problem::kPairs)), slopes(Problem::kHeads),
        bias(Problem::kHeads * std::max(1, Problem::kBiasWidth)), sinks(Problem::kHeads), output(tokensOf(sequences) * Problem::kHeads * kE) {
    query.random(1, 2);
    frequencies.random(2, 1);
    slopes.random(3, 0.1f);
    bias.random(4);
    sinks.random(5, 2);
    fillTable(sequences);
    fillCache();
  }
  static i64 tokensOf(const std::vector<std::pair<u32, u32>> &sequences) {
    i64 tokens = 0;
    for (auto [past, count] : sequences)
      tokens += count;
    return tokens;
  }
  void fillTable(const std::vector<std::pair<u32, u32>> &sequences) {
    u32 first = 0;
    for (auto [past, count] : sequences) {
      rows.push_back({first, count, past, past + count, u32(blocks.size()), 0});
      for (u32 b = 0; b * 64 < past + count; ++b)
        blocks.push_back(i32(blocks.size()));
      for (u32 i = 0; i < count; ++i) {
        sequenceOf.push_back(u32(rows.size() - 1));
        positions.push_back(past + i + 3); // any function of the token
      }
      first += count;
    }
    std::shuffle(blocks.begin(), blocks.end(), std::mt19937(6));
    table = {first, u32(rows.size()), {rows.data(), nullptr}, {blocks.data(), nullptr}, sequenceOf.data()};
  }
  void fillCache() {
    constexpr int kPanel = sizeof(Cache) == 4 ? 16 : 8;
    constexpr i64 kHead = 64 * (kD + (kE + 15) / 16 * 16);
    cache = std::make_unique<Buffer<Cache>>(blocks.size() * kHead * Problem::kKvHeads);
    memset(cache->data(), 0xff, cache->size() * sizeof(Cache));
    std::mt19937 generator(7);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (const SequenceRow &row : rows) {
      keys.emplace_back(row.length * Problem::kKvHeads * kD);
      values.emplace_back(row.length * Problem::kKvHeads * kE);
      for (u32 t = 0; t < row.length; ++t)
        for (int h = 0; h < Problem::kKvHeads; ++h) {
          Cache *head = cache->data() + (blocks[row.table + t / 64] * i64(Problem::kKvHeads) + h) * kHead;
          auto put = [&](Cache &to, float &copy) {
            llmopt::test::store(to, uniform(generator));
            copy = load(to);
          };
          for (int d = 0; d < kD; ++d)
            put(head[t % 64 / kPanel * kD * kPanel + d * kPanel + t % kPanel], keys.back()[(t * Problem::kKvHeads + h) * kD + d]);
          for (int e = 0; e < kE; ++e)
            put(head[64 * kD + e / kPanel * 64 * kPanel + t % 64 * kPanel + e % kPanel], values.back()[(t * Problem::kKvHeads + h) * kE + e]);
        }
    }
  }

  std::vector<double> rotated(i64 token, int head) const {
    std::vector<double> q(kD);
    const float *from = query.data() + (token * Problem::kHeads + head) * kD;
    std::copy(from, from + kD, q.begin());
    for (int i = 0; i < Problem::kPairs; ++i) {
      int x = Problem::kInterleaved ? 2 * i : i, y = Problem::kInterleaved ? 2 * i + 1 : i + Problem::kPairs;
      double angle = float(positions[token]) * frequencies[i], c = cos(angle) * Problem::ropeScale(), s = sin(angle) * Problem::ropeScale();
      q[x] = from[x] * c - from[y] * s;
      q[y] = from[y] * c + from[x] * s;
    }
    return q;
  }
  double error(bool extras) const {
    Error error;
    for (u32 s = 0; s < rows.size(); ++s)
      for (u32 i = 0; i < rows[s].count; ++i)
        for (int h = 0; h < Problem::kHeads; ++h) {
          i64 token = rows[s].first + i, position = rows[s].past + i;
          std::vector<double> q = rotated(token, h), score(rows[s].length, -HUGE_VAL), sum(kE + 1);
          double largest = extras ? sinks[h] : -HUGE_VAL;
          for (i64 j = 0; j < rows[s].length; ++j) {
            if ((Problem::kCausal && j > position) || (Problem::kWindow && j <= position - Problem::kWindow))
              continue;
            const float *key = keys[s].data() + (j * Problem::kKvHeads + h / kGroup) * kD;
            score[j] = std::inner_product(q.begin(), q.end(), key, 0.0) * Problem::scale();
            if (Problem::softcap() > 0)
              score[j] = Problem::softcap() * tanh(score[j] / Problem::softcap());
            if (extras)
              score[j] += slopes[h] * (j - position);
            if (Problem::kBiasWidth) {
              i64 reach = (Problem::kBiasWidth - 1) / 2;
              score[j] += bias[h * Problem::kBiasWidth + std::clamp<i64>(j - position, -reach, reach) + reach];
            }
            largest = std::max(largest, score[j]);
          }
          sum[kE] = extras ? exp(sinks[h] - largest) : 0;
          for (i64 j = 0; j < rows[s].length; ++j) {
            double weight = exp(score[j] - largest);
            sum[kE] += weight;
            for (int e = 0; e < kE; ++e)
              sum[e] += weight * values[s][(j * Problem::kKvHeads + h / kGroup) * kE + e];
          }
          for (int e = 0; e < kE; ++e)
            error.add(output[(token * Problem::kHeads + h) * kE + e], sum[e] / sum[kE]);
        }
    return error.worst();
  }
};

template <class Family, class Operands>
void entry(const StepTable *table, i64 units, const Operands operands) {
  SHARED_MEMORY(smem);
  Family::run(smem, table, units, operands);
}

/// Runs a step in every mode: the worst error, and the first complaint of the emulation.
template <class Family, class Problem>
std::pair<double, std::string> runStep(std::vector<std::pair<u32, u32>> sequences, bool extras = false) {
  Step<Problem> step(sequences);
  i64 units = Family::units(step.table.tokens);
  Buffer<float> parts(units * Family::kPartFloats, NAN);
  Buffer<u32> counters(units);
  typename Family::Operands operands{step.query.data(), step.positions.data(), step.frequencies.data(), extras ? step.slopes.data() : nullptr,
                                     step.bias.data(), extras ? step.sinks.data() : nullptr, step.cache->data(), step.output.data(), parts.data(),
                                     counters.data()};
  double worst = 0;
  for (const char *mode : kModes) {
    std::fill(step.output.data(), step.output.data() + step.output.size(), NAN);
    std::string complaint = launch(mode, entry<Family, typename Family::Operands>, 3, Family::kThreads, Family::kSharedBytes, &step.table, units, operands);
    if (!complaint.empty())
      return {HUGE_VAL, complaint};
    double error = step.error(extras);
    worst = error > worst || error != error ? error : worst;
  }
  return {worst, ""};
}

template <class Family, class Problem>
double worstError(std::vector<std::pair<u32, u32>> sequences, bool extras = false) {
  auto [worst, complaint] = runStep<Family, Problem>(sequences, extras);
  EXPECT_EQ(complaint, "");
  return worst;
}

} // namespace llmopt::test

#endif // LLMOPT_TEST_CODEGEN_CUDA_PAGEDDATA_H
