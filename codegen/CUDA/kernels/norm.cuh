//===- norm.cuh - RMS and layer normalisation of rows ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// normalise(x + residual) * weight + bias; the sum can be stored too. A row stays in registers. The results are an array of Output, or what is printed
// from the region behind the norm (its quantization): Behind, with
//
//   kExtrema            numbers that are joined over each row, as its largest and smallest result are; 0: none
//   store(i64 row, i64 column, float value, float *terms)      terms: kExtrema
//   begin(float (&values)[kExtrema]), join(float (&values)[kExtrema], const float (&others)[kExtrema])
//   storeExtrema(i64 row, const float (&values)[kExtrema])
//
// Any target, any size. Rows has
//
//   Input, Residual, Weight, Output    float, bf16 or f16
//   kDepth              numbers of a row
//   kCenter             layer norm; otherwise RMS norm
//   epsilon()
//   kThreads            of a block, 32 to 1024; a thread holds ceil(kDepth / (8 * kThreads)) * 8 numbers
//
// `residual`, `sum` and `bias` may be null. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "block_join.cuh"
#include "vectors.cuh"

template <class Rows>
struct Norm {
  static constexpr int kDepth = Rows::kDepth, kThreads = Rows::kThreads, kEach = 8, kWarps = kThreads / 32;
  static constexpr int kParts = (kDepth + kEach * kThreads - 1) / (kEach * kThreads);
  static constexpr bool kWhole = kDepth % kEach == 0;
  typedef float Values[kParts][kEach];

  /// Sum over the block; `parts` has a place for each warp and may be used again after the next blockSync.
  static DEVICE_MEMBER float sumOfBlock(float value, float *parts) {
    UNROLL
    for (u32 mask = 16; mask; mask /= 2)
      value += shuffleXor(value, mask);
    if constexpr (kWarps > 1) {
      if (laneId() == 0)
        parts[threadIdx.x / 32] = value;
      blockSync();
      value = 0;
      UNROLL
      for (int i = 0; i < kWarps; ++i)
        value += parts[i];
    }
    return value;
  }

  template <class T>
  static DEVICE_MEMBER void load(const T *row, Values &values) {
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
  static DEVICE_MEMBER void store(T *row, const Values &values) {
    UNROLL
    for (int i = 0; i < kParts; ++i) {
      i64 at = (i64(i) * kThreads + threadIdx.x) * kEach;
      if (at < kDepth)
        storeVector<kWhole>(row + at, kDepth - at, values[i]);
    }
  }

  template <class Behind>
  struct Extrema {
    static constexpr int kCount = Behind::kExtrema;
  };
  template <class T>
  struct Extrema<T *> {
    static constexpr int kCount = 0;
  };

  static DEVICE_MEMBER void storeRow(typename Rows::Output *output, i64 row, const Values &values, float *) { store(output + row * kDepth, values); }
  template <class Behind>
  static DEVICE_MEMBER void storeRow(const Behind &behind, i64 row, const Values &values, float *parts) {
    constexpr int kExtrema = Behind::kExtrema, kTerms = kExtrema ? kExtrema : 1;
    float extrema[kTerms], terms[kTerms];
    if constexpr (kExtrema > 0)
      behind.begin(extrema);
    UNROLL
    for (int i = 0; i < kParts; ++i)
      UNROLL
      for (int e = 0; e < kEach; ++e)
        if (i64 column = (i64(i) * kThreads + threadIdx.x) * kEach + e; column < kDepth) {
          behind.store(row, column, values[i][e], terms);
          if constexpr (kExtrema > 0)
            behind.join(extrema, terms);
        }
    if constexpr (kExtrema > 0) {
      joinOfBlock<kWarps>(extrema, parts, [&](float(&values)[kTerms], const float(&others)[kTerms]) INLINE_LAMBDA { behind.join(values, others); });
      if (threadIdx.x == 0)
        behind.storeExtrema(row, extrema);
    }
  }

  /// Mean of squares, or variance around the mean, which is taken off.
  static DEVICE_MEMBER float spread(Values &values, float *parts) {
    if constexpr (Rows::kCenter) {
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
    return sumOfBlock(squares, parts + kWarps) * (1.0f / kDepth);
  }

  template <class Results>
  static DEVICE_MEMBER void run(const typename Rows::Input *x, const typename Rows::Residual *residual, typename Rows::Residual *sum,
                                const typename Rows::Weight *weight, const typename Rows::Weight *bias, Results results, i64 units) {
    STATIC_SHARED(float, parts, (2 + Extrema<Results>::kCount) * kWarps);
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Values values, other;
      load(x + unit * kDepth, values);
      if (residual) {
        load(residual + unit * kDepth, other);
        UNROLL
        for (int i = 0; i < kParts; ++i)
          UNROLL
          for (int e = 0; e < kEach; ++e)
            values[i][e] += other[i][e];
      }
      if (sum)
        store(sum + unit * kDepth, values);
      float scale = 1.0f / squareRoot(spread(values, parts) + Rows::epsilon());
      load(weight, other);
      UNROLL
      for (int i = 0; i < kParts; ++i)
        UNROLL
        for (int e = 0; e < kEach; ++e)
          values[i][e] *= scale * other[i][e];
      if (bias) {
        load(bias, other);
        UNROLL
        for (int i = 0; i < kParts; ++i)
          UNROLL
          for (int e = 0; e < kEach; ++e)
            values[i][e] += other[i][e];
      }
      storeRow(results, unit, values, parts + 2 * kWarps);
      blockSync(); // the places for sums are used again
    }
  }
};
