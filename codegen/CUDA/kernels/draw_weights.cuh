//===- draw_weights.cuh - weights made on the device ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One kernel, which the runtime launches once for each weight that the artifact only describes; lib/Support/RandomTensor.h says what the numbers
// are, lib/Artifact/DrawnWeights.h how they lie. `group` 0: `inputs` elements in order. `types`: what the numbers are rounded to, and 4 times
// what they are stored as (0 f32, 1 bf16, 2 f16).
//
//===----------------------------------------------------------------------===//
#pragma once
#include "printed.cuh"

struct DrawWeights {
  DEVICE_MEMBER static u64 mix(u64 state) {
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ull;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebull;
    return state ^ (state >> 31);
  }
  /// Each operation rounded: the unit is compiled without contraction.
  DEVICE_MEMBER static float draw(u64 state, float center) {
    float share = float(i32(mix(state) >> 40)) * 0x1p-24f;
    return center + (share - 0.5f) * (0.02f * 3.4641016f);
  }
  DEVICE_MEMBER static float rounded(float x, u64 type) { return type == 0 ? x : type == 1 ? toFloat(toBf16(x)) : toFloat(toF16(x)); }

  DEVICE_MEMBER static void run(u8 *out, u64 elements, u64 outputs, u64 inputs, u64 group, u64 outputsFirst, u64 state, u64 centerBits, u64 types) {
    constexpr u64 kPanel = 16;
    for (u64 place = gridThread(); place < elements; place += gridThreads()) {
      u64 index = place;
      bool inside = true;
      if (group != 0) {
        u64 groups = (inputs + group - 1) / group, slice = place / (kPanel * group), within = place % (kPanel * group);
        u64 output = slice / groups * kPanel + within / group, input = slice % groups * group + within % group;
        inside = output < outputs && input < inputs;
        index = outputsFirst != 0 ? output * inputs + input : input * outputs + output;
      }
      float value = inside ? rounded(draw(state + (index + 1) * 0x9e3779b97f4a7c15ull, floatOf(u32(centerBits))), types % 4) : 0.0f;
      if (types / 4 == 0)
        reinterpret_cast<float *>(out)[place] = value;
      else
        reinterpret_cast<u16 *>(out)[place] = types / 4 == 1 ? toBf16(value).bits : toF16(value).bits;
    }
  }
};
