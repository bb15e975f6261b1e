//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/PieceDealer.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

using namespace llmopt;

namespace {

constexpr uint64_t kUnits = 7 * 256 + 3; // not a multiple of any number of parts

/// Counts how often each unit is computed, and by whom.
struct Units {
  std::vector<std::atomic<int>> times = std::vector<std::atomic<int>>(kUnits);
  std::vector<std::atomic<int>> thread = std::vector<std::atomic<int>>(kUnits);
  void compute(Piece piece, unsigned who) {
    for (uint64_t u = kUnits * piece.part / piece.parts; u < kUnits * (piece.part + 1) / piece.parts; ++u) {
      times[u].fetch_add(1, std::memory_order_relaxed);
      thread[u].store(int(who), std::memory_order_relaxed);
    }
  }
  bool isDone() const {
    return std::all_of(times.begin(), times.end(), [](const std::atomic<int> &count) { return count == 1; });
  }
};

TEST(PieceDealer, SharesAreHalvedWhilePiecesAreLongEnough) {
  PieceDealer dealer(100);
  EXPECT_EQ(dealer.halvings(0), 0u);
  EXPECT_EQ(dealer.halvings(199), 0u);
  EXPECT_EQ(dealer.halvings(200), 1u);
  EXPECT_EQ(dealer.halvings(800), 3u);
  EXPECT_EQ(dealer.halvings(1e9), 3u);
  EXPECT_EQ(PieceDealer(0).halvings(0), 3u);
}

TEST(PieceDealer, AloneAThreadTakesItsOwnFromTheFrontAndOthersFromTheEnd) {
  PieceDealer dealer(0);
  dealer.begin(2, 1);
  std::vector<std::pair<uint32_t, uint32_t>> taken;
  dealer.deal(0, 1, 2, [&](Piece piece) { taken.emplace_back(piece.part, piece.parts); });
  EXPECT_EQ(taken, (std::vector<std::pair<uint32_t, uint32_t>>{{2, 4}, {6, 8}, {7, 8}, {3, 8}, {2, 8}, {0, 4}}));
  dealer.deal(0, 0, 2, [](Piece) { FAIL() << "a piece was dealt twice"; });
}

class Dealt : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Threads, Dealt, testing::Values(1, 2, 3, 5), testing::PrintToStringParamName());

/// Launches without barriers between them, as the worst case: threads run ahead of each other and are held up at random.
TEST_P(Dealt, EveryUnitIsComputedOnce) {
  constexpr size_t kLaunches = 200;
  PieceDealer dealer(0);
  for (int region = 0; region < 5; ++region) {
    std::vector<Units> launches(kLaunches);
    dealer.begin(GetParam(), kLaunches);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < GetParam(); ++t)
      threads.emplace_back([&, t] {
        uint32_t random = 12345 * (t + 1) + uint32_t(region);
        for (size_t i = 0; i < kLaunches; ++i)
          dealer.deal(i, t, unsigned(i % 6), [&](Piece piece) {
            random = random * 1664525 + 1013904223;
            if (random >> 24 < 3)
              std::this_thread::sleep_for(std::chrono::microseconds(random >> 22 & 511));
            launches[i].compute(piece, t);
          });
      });
    for (std::thread &thread : threads)
      thread.join();
    for (size_t i = 0; i < kLaunches; ++i)
      ASSERT_TRUE(launches[i].isDone()) << "launch " << i;
  }
}

/// A thread that is held up in its first piece keeps only that: the others have done the rest before it goes on.
TEST(PieceDealer, OthersDoTheWorkOfAThreadThatIsHeldUp) {
  PieceDealer dealer(0);
  Units units;
  dealer.begin(2, 1);
  std::atomic<int> step{0};
  std::thread late([&] {
    dealer.deal(0, 0, 3, [&](Piece piece) {
      step = 1;
      while (step != 2)
        std::this_thread::yield();
      units.compute(piece, 0);
    });
  });
  while (step != 1)
    std::this_thread::yield();
  dealer.deal(0, 1, 3, [&](Piece piece) { units.compute(piece, 1); });
  step = 2;
  late.join();
  EXPECT_TRUE(units.isDone());
  for (uint64_t u = 0; u < kUnits; ++u)
    ASSERT_EQ(units.thread[u], u < kUnits / 4 ? 0 : 1) << "unit " << u;
}

} // namespace
