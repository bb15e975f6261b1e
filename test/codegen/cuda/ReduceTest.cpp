//===- ReduceTest.cpp - reductions and the k best of rows, emulated -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/block_join.cuh"
#include "codegen/CUDA/kernels/division.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

#include <algorithm>
#include <numeric>

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/reduce.cuh"
#include "codegen/CUDA/kernels/top_k.cuh"

namespace not_counted { // injected: blocks of one row do not see each other
#define addCounter(counter, value) (u32(0) * *(counter))
#include "codegen/CUDA/kernels/reduce.cuh"
#undef addCounter
} // namespace not_counted

namespace taken_twice { // injected: candidates share a place
#define takeShared(counter, value) ((value) * *(counter))
#include "codegen/CUDA/kernels/top_k.cuh"
#undef takeShared
} // namespace taken_twice

/// Sum and maximum; NaN stays.
template <class Number, int kCount, int kFewRows, int kParts>
struct TestRows {
  typedef Number Type;
  static constexpr int kThreads = kCount, kTerms = 2, kRows = kFewRows, kMostParts = kParts;
  const Number *x;
  Number *sum, *most;
  i64 width;
  void begin(Type (&values)[2]) const { values[0] = 0, values[1] = std::is_integral_v<Number> ? Number(0) : -Number(INFINITY); }
  void join(Type (&values)[2], const Type (&others)[2]) const {
    values[0] = values[0] + others[0];
    values[1] = values[1] > others[1] || values[1] != values[1] ? values[1] : others[1];
  }
  void load(i64 row, i64 column, Type (&terms)[2]) const { terms[0] = terms[1] = x[row * width + column]; }
  void store(i64 row, const Type (&values)[2]) const { sum[row] = values[0], most[row] = values[1]; }
};

template <class Family, class Rows>
void entry(Rows rows, i64 units, i64 width, typename Rows::Type *shares, u32 *counters) {
  Family::run(rows, units, width, shares, counters);
}

/// Of 5 rows; one has an element that is no number. The error of sums against double; maxima must be equal.
template <template <class> class Family, class Number, int kThreads, int kParts>
double worstError(i64 width, i64 split) {
  constexpr i64 kRows = 5;
  typedef TestRows<Number, kThreads, int(kRows), kParts> Rows;
  Buffer<Number> x(kRows * width), shares(kRows * kParts * 2);
  Buffer<u32> counters(kRows, 0);
  std::mt19937 random(5);
  for (i64 i = 0; i < kRows * width; ++i)
    x[i] = std::is_integral_v<Number> ? Number(random()) : Number(random() % 20001) / 10000 - 1;
  if constexpr (!std::is_integral_v<Number>)
    x[2 * width + width / 2] = NAN;
  double worst = 0;
  for (const char *mode : kModes) {
    Buffer<Number> sum(kRows, 77), most(kRows, 77);
    EXPECT_EQ(launch(mode, entry<Family<Rows>, Rows>, 3, kThreads, 0, Rows{x.data(), sum.data(), most.data(), width}, kRows * split, width, shares.data(), counters.data()), "");
    Error error;
    for (i64 row = 0; row < kRows; ++row) {
      const Number *from = x.data() + row * width;
      if constexpr (std::is_integral_v<Number>) {
        error.add(sum[row] == std::accumulate(from, from + width, Number(0)) ? 0 : 1, 0);
      } else if (row == 2) {
        error.add(std::isnan(sum[2]) && std::isnan(most[2]) ? 0 : 1, 0);
        continue;
      } else {
        error.add(sum[row], std::accumulate(from, from + width, 0.0));
      }
      error.add(most[row] == *std::max_element(from, from + width) ? 0 : 1, 0);
    }
    worst = std::max(worst, error.worst());
    EXPECT_EQ(*std::max_element(counters.data(), counters.data() + kRows), 0u);
  }
  return worst;
}

TEST(Reduce, RowsOfAllWidths) {
  for (i64 width : {1, 31, 32, 33, 129, 1000})
    EXPECT_LT((worstError<Reduce, float, 32, 1>(width, 1)), 1e-5) << width;
  for (i64 width : {1, 255, 1025, 4099}) {
    EXPECT_LT((worstError<Reduce, float, 256, 1>(width, 1)), 1e-5) << width;
    EXPECT_LT((worstError<Reduce, double, 128, 1>(width, 1)), 1e-13) << width;
    EXPECT_EQ((worstError<Reduce, u64, 128, 1>(width, 1)), 0) << width;
  }
}
TEST(Reduce, FewRowsInParts) {
  for (i64 width : {1, 7, 511, 4099})
    for (i64 split : {2, 7}) {
      EXPECT_LT((worstError<Reduce, float, 64, 8>(width, split)), 1e-5) << width << " in " << split;
      EXPECT_EQ((worstError<Reduce, u32, 64, 8>(width, split)), 0) << width << " in " << split;
    }
}
TEST(Reduce, InjectedErrorsAreCaught) { EXPECT_GT((worstError<not_counted::Reduce, float, 64, 8>(511, 7)), 0.01); }

template <int kCount, int kSpace, bool kBest>
struct Candidates {
  static constexpr int kThreads = kCount, kMost = kSpace;
  static constexpr bool kLargest = kBest;
  const float *x;
  float *values;
  i64 *indices;
  i64 width, k;
  float load(i64 row, i64 column) const { return column < width ? x[row * width + column] : -7; } // an injected error asks for any
  void store(i64 row, i64 place, float value, i64 column) const { values[row * k + place] = value, indices[row * k + place] = column; }
};
template <class Family, class Rows>
void bestEntry(Rows rows, i64 units, i64 width, i64 k) {
  Family::run(rows, units, width, k);
}

/// Against sorting; the rows are spread, full of equals, and with infinities, zeros of both signs and what is no number. Places that are wrong.
template <template <class> class Family, int kThreads, int kSpace, bool kLargest>
i64 wrongPlaces(i64 width, i64 k) {
  constexpr i64 kRows = 5;
  typedef Candidates<kThreads, kSpace, kLargest> Rows;
  Buffer<float> x(kRows * width);
  x.random(3, 50);
  for (i64 i = 0; i < width; ++i) {
    x[width + i] = std::round(x[width + i] / 20);
    x[2 * width + i] = i % 3 ? 0.0f : -0.0f;
    if (i % 5 == 1)
      x[3 * width + i] = i % 2 ? NAN : i % 4 ? INFINITY : -INFINITY;
  }
  i64 wrong = 0;
  for (const char *mode : kModes) {
    Buffer<float> values(kRows * k, -7);
    Buffer<i64> indices(kRows * k, -7);
    if (!launch(mode, bestEntry<Family<Rows>, Rows>, 2, kThreads, 0, Rows{x.data(), values.data(), indices.data(), width, k}, kRows, width, k).empty())
      return width * k;
    for (i64 row = 0; row < kRows; ++row) {
      const float *from = x.data() + row * width;
      std::vector<i64> order(width);
      std::iota(order.begin(), order.end(), 0);
      auto better = [&](float x, float y) { return kLargest ? x > y || (x != x && y == y) : x < y || (x == x && y != y); };
      std::sort(order.begin(), order.end(), [&](i64 a, i64 b) { return better(from[a], from[b]) || (!better(from[b], from[a]) && a < b); });
      for (i64 i = 0; i < k; ++i)
        wrong += indices[row * k + i] != order[i] || memcmp(&values[row * k + i], &from[order[i]], sizeof(float)) != 0;
    }
  }
  return wrong;
}

TEST(TopK, ShortRows) {
  for (auto [width, k] : {std::pair<i64, i64>(1, 1), {2, 2}, {31, 3}, {64, 64}, {128, 8}}) {
    EXPECT_EQ((wrongPlaces<TopK, 32, 128, true>(width, k)), 0) << k << " of " << width;
    EXPECT_EQ((wrongPlaces<TopK, 64, 128, false>(width, k)), 0) << k << " of " << width;
  }
}
TEST(TopK, LongRows) {
  for (auto [width, k] : {std::pair<i64, i64>(129, 1), {129, 128}, {1000, 50}, {3001, 128}, {4097, 7}}) {
    EXPECT_EQ((wrongPlaces<TopK, 32, 128, false>(width, k)), 0) << k << " of " << width;
    EXPECT_EQ((wrongPlaces<TopK, 256, 128, true>(width, k)), 0) << k << " of " << width;
  }
}
TEST(TopK, InjectedErrorsAreCaught) { EXPECT_GT((wrongPlaces<taken_twice::TopK, 64, 128, true>(1000, 50)), 0); }

} // namespace
