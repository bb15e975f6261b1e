//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/TeamSize.h"

#include <functional>
#include <gtest/gtest.h>
#include <map>

using namespace llmopt;

namespace {

/// Calls of `nanoseconds(threads)`; how many of them had which number of threads.
std::map<unsigned, int> calls(TeamSize &size, int count, unsigned most, const std::function<int64_t(unsigned)> &nanoseconds) {
  std::map<unsigned, int> had;
  for (int i = 0; i < count; ++i) {
    unsigned threads = size.next(most);
    ++had[threads];
    if (size.isTimed())
      size.took(nanoseconds(threads));
  }
  return had;
}

TEST(TeamSize, ShortCallsHaveTheFastestNumber) {
  for (unsigned best : {16u, 8u, 4u, 2u, 1u}) {
    TeamSize size;
    auto time = [&](unsigned threads) { return int64_t(10'000) * (threads > best ? threads / best : best / threads); };
    calls(size, 100, 16, time);
    EXPECT_GT(calls(size, 10'000, 16, time)[best], 9'500);
  }
}

TEST(TeamSize, NumbersNeedBeNoPowersOfTwo) {
  for (unsigned most : {3u, 5u, 7u}) {
    TeamSize size;
    auto had = calls(size, 10'000, most, [](unsigned threads) { return int64_t(threads) * 1000; });
    EXPECT_GT(had[1], 9'500) << most;
    EXPECT_EQ(had.rbegin()->first, most);
  }
}

TEST(TeamSize, LongCallsHaveAllThreads) {
  TeamSize size;
  auto had = calls(size, 5'000, 8, [](unsigned threads) { return int64_t(threads) * 10'000'000; });
  EXPECT_EQ(had.size(), 1u);
  EXPECT_EQ(had[8], 5'000);
}

// A sequence that grows, or a processor that somebody else uses for a while.
TEST(TeamSize, FollowsWhatChanges) {
  TeamSize size;
  auto forOne = [](unsigned threads) { return int64_t(threads) * 10'000; };
  auto forAll = [](unsigned threads) { return int64_t(800'000) / threads; };
  EXPECT_GT(calls(size, 2'000, 8, forOne)[1], 1'900);
  calls(size, 1'100, 8, forAll);
  EXPECT_GT(calls(size, 5'000, 8, forAll)[8], 4'900);
  calls(size, 1'100, 8, forOne);
  EXPECT_GT(calls(size, 5'000, 8, forOne)[1], 4'900);
  calls(size, 1'100, 8, [](unsigned) { return int64_t(10'000'000); });
  EXPECT_EQ(calls(size, 5'000, 8, [](unsigned) { return int64_t(10'000'000); })[8], 5'000);
}

TEST(TeamSize, NeitherNoiseNorAFirstCallDecides) {
  TeamSize size;
  int call = 0;
  auto had = calls(size, 10'000, 2, [&](unsigned threads) { return int64_t(threads == 2 ? 10'000 : 15'000) * (call++ % 4 ? 3 : 1); });
  EXPECT_GT(had[2], 9'500);
  EXPECT_EQ(calls(size, 10, 1, [](unsigned) { return int64_t(1); })[1], 10);
}

} // namespace
