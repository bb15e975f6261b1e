//===- rope.cuh - rotary positions on the way -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For families that read heads which llm.rope rotates. Problem has
//
//   Position, kPairs, kInterleaved, ropeScale()    type of positions; rotated pairs of a head, 0: no rope
//
//===----------------------------------------------------------------------===//
#pragma once

#include "trigonometry.cuh"

/// Element d of a head of the token that `position` belongs to.
template <class Problem>
DEVICE float rotatedElement(const float *head, int d, const typename Problem::Position *position, const float *frequencies) {
  if constexpr (Problem::kPairs > 0)
    if (d < 2 * Problem::kPairs) {
      int pair = Problem::kInterleaved ? d / 2 : d % Problem::kPairs;
      bool second = Problem::kInterleaved ? d % 2 : d >= Problem::kPairs;
      int other = Problem::kInterleaved ? d ^ 1 : second ? d - Problem::kPairs : d + Problem::kPairs;
      SineCosine angle = sineCosine(float(*position) * frequencies[pair]);
      return (head[d] * angle.cosine + (second ? head[other] : -head[other]) * angle.sine) * Problem::ropeScale();
    }
  return head[d];
}
