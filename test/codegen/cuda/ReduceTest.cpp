//===- ReduceTest.cpp - reductions, scans, the k best of rows, emulated ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/block_join.cuh"
#include "codegen/CUDA/kernels/division.cuh"
#include "codegen/CUDA/kernels/order.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

#include <algorithm>
#include <numeric>

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/arg_reduce.cuh" // and reduce.cuh
#include "codegen/CUDA/kernels/scan.cuh"
#include "codegen/CUDA/kernels/top_k.cuh"

namespace not_counted { // injected: blocks of one row do not see each other
#define addCounter(counter, value) (u32(0) * *(counter))
#include "codegen/CUDA/kernels/arg_reduce.cuh"
#undef addCounter
} // namespace not_counted

namespace no_barrier { // injected: sums of warps are read before they are written
#define blockSync()
#include "codegen/CUDA/kernels/scan.cuh"
#undef blockSync
} // namespace no_barrier

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

template <class Type, int kCount, int kParts, bool kIsSigned, bool kBest, bool kBack>
struct Placed {
  typedef Type Number;
  static constexpr int kThreads = kCount, kRows = 5, kMostParts = kParts;
  static constexpr bool kSigned = kIsSigned, kLargest = kBest, kLast = kBack;
  const Number *x;
  u64 *places;
  i64 width;
  Number number(i64 row, i64 column) const { return x[row * width + column]; }
  void storePlace(i64 row, u64 place) const { places[row] = place; }
};

/// As the interpreter has it: what is no number is the greatest.
template <class Problem, class Number>
bool isBefore(Number a, Number b) {
  if (a != a || b != b)
    return Problem::kLargest ? a != a && b == b : a == a && b != b;
  if constexpr (std::is_integral_v<Number>)
    if (Problem::kSigned)
      return Problem::kLargest ? std::make_signed_t<Number>(a) > std::make_signed_t<Number>(b) : std::make_signed_t<Number>(a) < std::make_signed_t<Number>(b);
  return Problem::kLargest ? a > b : a < b;
}

/// Of 5 rows: spread, full of equal elements, of zeros of both signs, with what is no number, and of the least number alone. Places that are wrong.
template <template <class> class Family, template <class> class Adapted, class Problem>
i64 wrongExtrema(i64 width, i64 split) {
  typedef typename Problem::Number Number;
  typedef Adapted<Problem> Rows;
  Buffer<Number> x(5 * width);
  Buffer<u64> shares(5 * Problem::kMostParts * 2);
  Buffer<u32> counters(5, 0);
  std::mt19937_64 random(width);
  for (i64 i = 0; i < width; ++i) {
    constexpr bool kWhole = std::is_integral_v<Number>;
    x[i] = kWhole ? Number(random()) : Number(i64(random()));
    x[width + i] = Number(random() % 3);
    x[2 * width + i] = i % 3 ? Number(0) : -Number(0);
    x[3 * width + i] = kWhole ? Number(0) - Number(random() % 9) : i % 5 != 1 ? Number(random() % 9) : Number(i % 2 ? NAN : i % 4 ? INFINITY : -INFINITY);
    x[4 * width + i] = kWhole ? (Problem::kSigned ? Number(u64(1) << (sizeof(Number) * 8 - 1)) : Number(0)) : Number(-INFINITY);
  }
  i64 wrong = 0;
  for (const char *mode : kModes) {
    Buffer<u64> places(5, 77);
    EXPECT_EQ(launch(mode, entry<Family<Problem>, Rows>, 3, Problem::kThreads, 0, Rows{{x.data(), places.data(), width}}, 5 * split, width, shares.data(), counters.data()), "");
    for (i64 row = 0; row < 5; ++row) {
      i64 best = 0;
      const Number *from = x.data() + row * width;
      for (i64 i = 1; i < width; ++i)
        if (Problem::kLast ? !isBefore<Problem>(from[best], from[i]) : isBefore<Problem>(from[i], from[best]))
          best = i;
      wrong += places[row] != u64(best);
    }
  }
  return wrong;
}
template <class Number, bool kSigned, bool kLargest, bool kLast>
void checkExtrema() {
  for (i64 width : {1, 33, 511, 2049}) {
    EXPECT_EQ((wrongExtrema<ArgReduce, PlaceRows, Placed<Number, 32, 1, kSigned, kLargest, kLast>>(width, 1)), 0) << width;
    EXPECT_EQ((wrongExtrema<ArgReduce, PlaceRows, Placed<Number, 64, 8, kSigned, kLargest, kLast>>(width, 7)), 0) << width;
  }
}
TEST(ArgReduce, LargestF32) { checkExtrema<float, true, true, false>(); }
TEST(ArgReduce, LastSmallestF32) { checkExtrema<float, true, false, true>(); }
TEST(ArgReduce, LastLargestF64) { checkExtrema<double, true, true, true>(); }
TEST(ArgReduce, SmallestI32) { checkExtrema<u32, true, false, false>(); }
TEST(ArgReduce, LargestU32) { checkExtrema<u32, false, true, false>(); }
TEST(ArgReduce, LargestI64) { checkExtrema<u64, true, true, false>(); }
TEST(ArgReduce, LastSmallestU64) { checkExtrema<u64, false, false, true>(); }
TEST(ArgReduce, InjectedErrorsAreCaught) {
  EXPECT_GT((wrongExtrema<not_counted::ArgReduce, not_counted::PlaceRows, Placed<float, 64, 8, true, true, false>>(511, 7)), 0);
}

template <class Number, int kCount, bool kWithout, bool kBack>
struct Running {
  typedef Number Type;
  static constexpr int kThreads = kCount;
  static constexpr bool kExclusive = kWithout, kReverse = kBack;
  Number *x; // in place
  i64 width;
  Type load(i64 row, i64 column) const { return x[row * width + column]; }
  void store(i64 row, i64 column, Type value) const { x[row * width + column] = value; }
};
template <class Family, class Rows>
void scanEntry(Rows rows, i64 units, i64 width) {
  Family::run(rows, units, width);
}

/// Of 5 rows; in one an element is infinite. Against double; whole numbers must be equal.
template <template <class> class Family, class Rows>
double scanError(i64 width) {
  typedef typename Rows::Type Number;
  constexpr bool kWhole = std::is_integral_v<Number>;
  double worst = 0;
  for (const char *mode : kModes) {
    Buffer<Number> x(5 * width);
    std::mt19937_64 random(3);
    for (i64 i = 0; i < 5 * width; ++i)
      x[i] = kWhole ? Number(random()) : Number(random() % 20001) / 10000 - 1;
    if constexpr (!kWhole)
      x[3 * width + width / 2] = INFINITY;
    std::vector<Number> before(x.data(), x.data() + 5 * width);
    EXPECT_EQ(launch(mode, scanEntry<Family<Rows>, Rows>, 2, Rows::kThreads, 0, Rows{x.data(), width}, 5, width), "");
    Error error;
    for (i64 row = 0; row < 5; ++row) {
      std::conditional_t<kWhole, Number, double> sum = 0;
      for (i64 i = 0; i < width; ++i) {
        i64 at = row * width + (Rows::kReverse ? width - 1 - i : i);
        auto next = sum + before[at];
        auto wanted = Rows::kExclusive ? sum : next;
        if (kWhole || std::isinf(double(wanted)))
          error.add(x[at] == Number(wanted) ? 0 : 1, 0);
        else
          error.add(x[at], wanted);
        sum = next;
      }
    }
    worst = std::max(worst, error.worst());
  }
  return worst;
}
template <class Number, bool kExclusive, bool kReverse>
void checkScan(double tolerance) {
  for (i64 width : {1, 31, 129, 1000, 4099}) {
    EXPECT_LE((scanError<Scan, Running<Number, 32, kExclusive, kReverse>>(width)), tolerance) << width;
    EXPECT_LE((scanError<Scan, Running<Number, 128, kExclusive, kReverse>>(width)), tolerance) << width;
  }
}
TEST(Scan, F32) { checkScan<float, false, false>(1e-4); }
TEST(Scan, F32ExclusiveFromTheEnd) { checkScan<float, true, true>(1e-4); }
TEST(Scan, F64FromTheEnd) { checkScan<double, false, true>(1e-12); }
TEST(Scan, WholeNumbersOf32BitsExclusive) { checkScan<u32, true, false>(0); }
TEST(Scan, WholeNumbersOf64Bits) { checkScan<u64, false, true>(0); }
TEST(Scan, InjectedErrorsAreCaught) { EXPECT_GT((scanError<no_barrier::Scan, Running<u32, 128, false, false>>(1000)), 0); }

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
