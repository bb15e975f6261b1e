//===- norm.cuh - RMS and layer normalisation of rows ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// output = normalise(x + residual) * weight + bias; the sum can be stored too. One pass: a row stays in registers. Any target, any size.
//
//   LLMOPT_INPUT_TYPE, LLMOPT_RESIDUAL_TYPE, LLMOPT_WEIGHT_TYPE, LLMOPT_OUTPUT_TYPE    float, bf16 or f16
//   LLMOPT_DEPTH          numbers of a row
//   LLMOPT_CENTER         1: layer norm, 0: RMS norm
//   LLMOPT_RESIDUAL, LLMOPT_STORE_SUM, LLMOPT_BIAS      1 if there is one
//   LLMOPT_EPSILON        a float
//   LLMOPT_THREADS        of a block, 32 to 1024; a thread holds ceil(DEPTH / (8 * THREADS)) * 8 numbers
// Parameters: x, residual if LLMOPT_RESIDUAL, sum if LLMOPT_STORE_SUM, weight, bias if LLMOPT_BIAS, output, units.
// Shared memory: static. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "vectors.cuh"

struct Norm {
  static constexpr int kDepth = LLMOPT_DEPTH, kThreads = LLMOPT_THREADS, kEach = 8;
  static constexpr int kParts = (kDepth + kEach * kThreads - 1) / (kEach * kThreads);
  static constexpr bool kWhole = kDepth % kEach == 0;

  /// Sum over the block; `parts` has a place for each warp and may be used again after the next blockSync.
  static DEVICE_MEMBER float sumOfBlock(float value, float *parts) {
    UNROLL
    for (u32 mask = 16; mask; mask /= 2)
      value += shuffleXor(value, mask);
    if constexpr (kThreads > 32) {
      if (laneId() == 0)
        parts[threadIdx.x / 32] = value;
      blockSync();
      value = 0;
      UNROLL
      for (int i = 0; i < kThreads / 32; ++i)
        value += parts[i];
    }
    return value;
  }

  template <class T>
  static DEVICE_MEMBER void load(const T *row, float (&values)[kParts][kEach]) {
    UNROLL
    for (int i = 0; i < kParts; ++i) {
      i64 at = (i64(i) * kThreads + threadIdx.x) * kEach;
      if (at < kDepth)
        loadVector<kWhole>(row + at, kDepth - at, values[i]);
      else
        UNROLL
        for (float &value : values[i])
          value = 0;
    }
  }
  template <class T>
  static DEVICE_MEMBER void store(T *row, const float (&values)[kParts][kEach]) {
    UNROLL
    for (int i = 0; i < kParts; ++i) {
      i64 at = (i64(i) * kThreads + threadIdx.x) * kEach;
      if (at < kDepth)
        storeVector<kWhole>(row + at, kDepth - at, values[i]);
    }
  }

  /// Mean of squares, or variance around the mean, which is taken off.
  static DEVICE_MEMBER float spread(float (&values)[kParts][kEach], float *parts) {
    if constexpr (LLMOPT_CENTER) {
      float sum = 0;
      UNROLL
      for (auto &part : values)
        UNROLL
        for (float value : part)
          sum += value;
      float mean = sumOfBlock(sum, parts) * (1.0f / kDepth);
      UNROLL
      for (int i = 0; i < kParts; ++i)
        UNROLL
        for (int e = 0; e < kEach; ++e)
          values[i][e] = (i64(i) * kThreads + threadIdx.x) * kEach + e < kDepth ? values[i][e] - mean : 0.0f;
    }
    float squares = 0;
    UNROLL
    for (auto &part : values)
      UNROLL
      for (float value : part)
        squares += value * value;
    return sumOfBlock(squares, parts + kThreads / 32) * (1.0f / kDepth);
  }
};

extern "C" GLOBAL void LAUNCH_BOUNDS(LLMOPT_THREADS) LLMOPT_ENTRY(const LLMOPT_INPUT_TYPE *x,
#if LLMOPT_RESIDUAL
                                                                  const LLMOPT_RESIDUAL_TYPE *residual,
#endif
#if LLMOPT_STORE_SUM
                                                                  LLMOPT_RESIDUAL_TYPE *sum,
#endif
                                                                  const LLMOPT_WEIGHT_TYPE *weight,
#if LLMOPT_BIAS
                                                                  const LLMOPT_WEIGHT_TYPE *bias,
#endif
                                                                  LLMOPT_OUTPUT_TYPE *output, i64 units) {
  STATIC_SHARED(float, parts, 2 * LLMOPT_THREADS / 32);
  waitForDependencies();
  for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
    float values[Norm::kParts][Norm::kEach], other[Norm::kParts][Norm::kEach];
    Norm::load(x + unit * LLMOPT_DEPTH, values);
#if LLMOPT_RESIDUAL
    Norm::load(residual + unit * LLMOPT_DEPTH, other);
    UNROLL
    for (int i = 0; i < Norm::kParts; ++i)
      UNROLL
      for (int e = 0; e < Norm::kEach; ++e)
        values[i][e] += other[i][e];
#endif
#if LLMOPT_STORE_SUM
    Norm::store(sum + unit * LLMOPT_DEPTH, values);
#endif
    float scale = rsqrtApprox(Norm::spread(values, parts) + LLMOPT_EPSILON);
    Norm::load(weight, other);
    UNROLL
    for (int i = 0; i < Norm::kParts; ++i)
      UNROLL
      for (int e = 0; e < Norm::kEach; ++e)
        values[i][e] *= scale * other[i][e];
#if LLMOPT_BIAS
    Norm::load(bias, other);
    UNROLL
    for (int i = 0; i < Norm::kParts; ++i)
      UNROLL
      for (int e = 0; e < Norm::kEach; ++e)
        values[i][e] += other[i][e];
#endif
    Norm::store(output + unit * LLMOPT_DEPTH, values);
    blockSync(); // the places for sums are used again
  }
}
LLMOPT_EXPORT(LLMOPT_ENTRY)
