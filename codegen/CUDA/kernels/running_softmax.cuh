//===- running_softmax.cuh - a softmax whose scores come block by block ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

constexpr u32 kMinusInfinity = 0xff800000u; ///< by its bits

/// Of one row, as four lanes share it in the fragments of tensor cores.
struct RunningSoftmax {
  float maximum = floatOf(kMinusInfinity), sum = 0; ///< of all scores so far; of this lane's weights

  /// kCount scores of this lane become weights, in base 2 after a multiplication by `toBase2`; `score(i)` refers to one. Returns what earlier sums
  /// shrink by.
  template <int kCount, class Score>
  DEVICE_MEMBER float weigh(Score score, float toBase2 = 1.0f) {
    float largest = maximum;
    UNROLL
    for (int i = 0; i < kCount; ++i)
      largest = ::maximum(largest, score(i));
    largest = ::maximum(largest, shuffleXor(largest, 1));
    largest = ::maximum(largest, shuffleXor(largest, 2));
    bool none = largest == floatOf(kMinusInfinity); // a row that sees nothing yet
    float shrink = none ? 1.0f : exp2Approx((maximum - largest) * toBase2), added = 0;
    UNROLL
    for (int i = 0; i < kCount; ++i) {
      float &weight = score(i);
      weight = none ? 0.0f : exp2Approx((weight - largest) * toBase2);
      added += weight;
    }
    maximum = largest;
    sum = sum * shrink + added;
    return shrink;
  }
  /// Of all weights.
  DEVICE_MEMBER float total() const {
    float pair = sum + shuffleXor(sum, 1);
    return pair + shuffleXor(pair, 2);
  }
};
