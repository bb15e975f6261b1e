//===- CacheAppendTest.cpp - writing to the cache, emulated ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/rope.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

struct Plain {
  typedef float Cache;
  typedef i64 Position;
  static constexpr int kKvHeads = 3, kKeySize = 5, kValueSize = 33, kTable = 0, kPairs = 0;
  static constexpr bool kInterleaved = false;
  static float ropeScale() { return 1; }
};
struct Rotated : Plain {
  typedef i32 Position;
  static constexpr int kKeySize = 24, kValueSize = 20, kTable = 1, kPairs = 8;
  static float ropeScale() { return 1.25f; }
};
struct Interleaved : Rotated {
  static constexpr int kKeySize = 130, kPairs = 65;
  static constexpr bool kInterleaved = true;
};
struct Narrow : Rotated {
  typedef f16 Cache;
};

#include "codegen/CUDA/kernels/cache_append.cuh"

template <class Problem>
void entry(const StepTable *table, i64 units, const typename CacheAppend<Problem>::Operands operands) {
  CacheAppend<Problem>::run(table, units, operands);
}

/// Two sequences, in scattered blocks: every number of their new tokens, and nothing else, is written.
template <class Problem>
void check() {
  constexpr int kD = Problem::kKeySize, kE = Problem::kValueSize, kHeads = Problem::kKvHeads;
  constexpr i64 kHead = CacheAppend<Problem>::kHeadSize;
  const SequenceRow rows[] = {{0, 3, 62, 65, 1, 0}, {3, 70, 0, 70, 3, 0}};
  const i32 blocks[] = {9, 2, 4, 0, 1};
  const u32 tokens = 73, blockCount = 5;
  std::vector<u32> sequenceOf(tokens, 1);
  std::fill(sequenceOf.begin(), sequenceOf.begin() + 3, 0);
  StepTable table{tokens, 2, {rows, rows}, {blocks, blocks}, sequenceOf.data()};
  Buffer<float> keys(tokens * kHeads * kD), values(tokens * kHeads * kE), frequencies(std::max(1, Problem::kPairs));
  typedef typename Problem::Cache Cache;
  constexpr int kPanel = sizeof(Cache) == 4 ? 16 : 8;
  Buffer<Cache> cache(blockCount * kHeads * kHead);
  memset(cache.data(), 0xff, cache.size() * sizeof(Cache)); // not a number
  Buffer<typename Problem::Position> positions(tokens);
  keys.random(1), values.random(2), frequencies.random(3);
  for (u32 i = 0; i < tokens; ++i)
    positions[i] = 3 * i + 1;
  typename CacheAppend<Problem>::Operands operands{keys.data(), values.data(), positions.data(), frequencies.data(), cache.data()};
  ASSERT_EQ(launch("", entry<Problem>, 3, CacheAppend<Problem>::kThreads, 0, &table, CacheAppend<Problem>::units(tokens), operands), "");
  Error error;
  for (u32 t = 0; t < tokens; ++t) {
    const SequenceRow &row = rows[sequenceOf[t]];
    u32 place = row.past + t - row.first, slot = place % 64;
    for (int h = 0; h < kHeads; ++h) {
      Cache *head = cache.data() + (blocks[row.table + place / 64] * i64(kHeads) + h) * kHead;
      const float *key = keys.data() + (t * kHeads + h) * kD;
      std::vector<double> expected(key, key + kD);
      for (int i = 0; i < Problem::kPairs; ++i) {
        int x = Problem::kInterleaved ? 2 * i : i, y = Problem::kInterleaved ? 2 * i + 1 : i + Problem::kPairs;
        double angle = float(positions[t]) * frequencies[i];
        expected[x] = (key[x] * cos(angle) - key[y] * sin(angle)) * Problem::ropeScale();
        expected[y] = (key[y] * cos(angle) + key[x] * sin(angle)) * Problem::ropeScale();
      }
      auto take = [&](Cache &from, double value) {
        error.add(load(from), value);
        memset(&from, 0xff, sizeof(Cache));
      };
      for (int d = 0; d < kD; ++d)
        take(head[slot / kPanel * kD * kPanel + d * kPanel + slot % kPanel], expected[d]);
      for (int e = 0; e < kE; ++e)
        take(head[64 * kD + e / kPanel * 64 * kPanel + slot * kPanel + e % kPanel], values[(t * kHeads + h) * kE + e]);
    }
  }
  EXPECT_LT(error.worst(), sizeof(Cache) == 4 ? 1e-6 : 5e-4);
  for (size_t i = 0; i < cache.size(); ++i)
    ASSERT_TRUE(std::isnan(load(cache[i]))) << "written without need: " << i;
}

TEST(CacheAppend, Plain) { check<Plain>(); }
TEST(CacheAppend, Rotated) { check<Rotated>(); }
TEST(CacheAppend, SixteenBits) {
  check<Narrow>();
  f16 kept;
  for (auto [from, to] : {std::pair(1e6f, 65504.0f), {-HUGE_VALF, -65504.0f}, {2.5f, 2.5f}}) { // infinity would spoil every later token
    keep(kept, from);
    EXPECT_EQ(load(kept), to);
  }
  keep(kept, NAN);
  EXPECT_TRUE(std::isnan(load(kept)));
}
TEST(CacheAppend, Interleaved) { check<Interleaved>(); }

} // namespace
