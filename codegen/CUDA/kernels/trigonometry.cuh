//===- trigonometry.cuh - functions that need more than an instruction ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The approximations of the hardware are absolute, so useless for the angles of far positions.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

struct SineCosine {
  float sine, cosine;
};

/// Error below 1e-7 for |x| < 2^30: the angle is reduced in double, of which one multiplication and one addition are cheap enough.
DEVICE SineCosine sineCosine(float x) {
  double turns = double(x) * 0.63661977236758134308; // quarters
  i64 quarter = i64(turns + (turns < 0 ? -0.5 : 0.5));
  float r = float((turns - double(quarter)) * 1.57079632679489661923), z = r * r;
  float sine = r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
  float cosine = 1.0f - 0.5f * z + z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  bool swap = quarter & 1, negateSine = quarter & 2, negateCosine = (quarter + 1) & 2;
  float s = swap ? cosine : sine, c = swap ? sine : cosine;
  return {negateSine ? -s : s, negateCosine ? -c : c};
}

/// tanh of f32 accuracy: 1 - 2 / (e^2x + 1), and a series where that cancels.
DEVICE float tanhExact(float x) {
  float magnitude = x < 0 ? -x : x;
  if (magnitude < 0.25f) {
    float z = x * x;
    return x + x * z * (-0.33333333f + z * (0.13333333f + z * (-0.053968254f + z * (0.021869488f + z * -0.0088632355f))));
  }
  float result = 1.0f - 2.0f / (exp2Approx(magnitude * 2.8853900818f) + 1.0f);
  return x < 0 ? -result : result;
}
