//===- DivisionTest.cpp - division without a call -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/kernels/division.cuh"

#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace {

/// Of every length, with long runs of equal bits: where a quotient is nearly one more or one less.
std::vector<u64> numbers() {
  std::vector<u64> list = {0, 1, 2, 3, 5, 7, 10, 192, 65537};
  std::mt19937_64 generator(3);
  for (int bits = 1; bits <= 64; ++bits)
    for (u64 number : {u64(1) << (bits - 1), ~u64(0) >> (64 - bits), u64(generator()) >> (64 - bits), u64(generator()) >> (64 - bits) | u64(1) << (bits - 1)})
      for (i64 near : {-1, 0, 1})
        list.push_back(number + near);
  return list;
}

TEST(Division, EqualsTheMachines) {
  std::vector<u64> all = numbers();
  for (u64 a : all)
    for (u64 b : all) {
      if (b == 0)
        continue;
      ASSERT_EQ(quotient(a, b), a / b) << a << " / " << b;
      ASSERT_EQ(remainderOf(a, b), a % b) << a << " % " << b;
      u64 multiple = a / b * b; // the place where floor steps
      ASSERT_EQ(quotient(multiple, b), multiple / b) << multiple << " / " << b;
      ASSERT_EQ(quotient(multiple - 1, b), (multiple - 1) / b) << multiple - 1 << " / " << b;
      if (i64(b) == -1 && a == u64(1) << 63)
        continue;
      ASSERT_EQ(quotient(i64(a), i64(b)), i64(a) / i64(b)) << i64(a) << " / " << i64(b);
      ASSERT_EQ(remainderOf(i64(a), i64(b)), i64(a) % i64(b)) << i64(a) << " % " << i64(b);
    }
}

} // namespace
