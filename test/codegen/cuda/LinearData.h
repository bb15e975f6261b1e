//===- LinearData.h - a linear layer, its epilogue and result ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_CODEGEN_CUDA_LINEARDATA_H
#define LLMOPT_TEST_CODEGEN_CUDA_LINEARDATA_H

#include "EmulatedKernel.h"

namespace llmopt::test {

/// One product: adds a bias. Two: multiplies them, as a gate does. The last segment is an own matrix of 37 columns.
template <class Weight, int kCount, int kColumns, int kSegmentCount = 1>
struct TestEpilogue {
  static constexpr int kProducts = kCount, kSegments = kSegmentCount;
  static constexpr i64 kTail = 37;
  static constexpr i64 columns(int segment) { return segment + 1 < kSegments || kSegments == 1 ? kColumns : kTail; }
  const Weight *weights[kSegments][kCount]; ///< rows or panels, as the kernel wants them
  float *output;
  const float *bias;
  TensorMap maps[kSegments][kCount];
  const void *weight(int segment, int product) const { return weights[segment][product]; }
  const TensorMap *map(int segment, int product) const { return &maps[segment][product]; }
  template <int N, class Sum>
  void store(int segment, i64 row, i64 column, const Sum (&products)[kProducts][N]) const {
    ASSERT_LE(column + N, columns(segment));
    i64 first = segment * kColumns + column, width = kSegments == 1 ? kColumns : kColumns + kTail;
    for (int c = 0; c < N; ++c) {
      float &to = output[row * width + first + c];
      ASSERT_TRUE(std::isnan(to)) << "written twice";
      to = kCount == 2 ? float(products[0][c]) * float(products[kCount - 1][c]) : float(products[0][c]) + bias[first + c];
    }
  }
};

/// Data of one layer, and its result in double.
template <class Input, class Weight, int kDepth, int kProducts, int kColumns, int kSegments = 1>
struct Data {
  typedef TestEpilogue<Weight, kProducts, kColumns, kSegments> Epilogue;
  static constexpr i64 kWidth = kSegments == 1 ? kColumns : kColumns + Epilogue::kTail;
  static constexpr i64 kStride = (kDepth * sizeof(Weight) + 15) / 16 * 16 / sizeof(Weight);
  i64 rows;
  Buffer<Input> x;
  Buffer<Weight> weight, weight1;
  Buffer<float> bias, output;
  Epilogue epilogue;
  std::vector<std::unique_ptr<Buffer<Weight>>> packed;

  explicit Data(i64 rows, i64 missing = 0)
      : rows(rows), x(rows * kDepth), weight((kWidth - missing) * kStride), weight1(kWidth * kStride), bias(kWidth), output(rows * kWidth) {
    float scale = sizeof(Weight) == 1 ? 5 : 1;
    if constexpr (std::is_same_v<Input, u8>)
      for (i64 i = 0; i < rows * kDepth; ++i)
        x[i] = u8(i * 89 % 251 + i % 5); // of all sizes up to 255
    else
      x.random(1, scale);
    weight.random(2, scale);
    weight1.random(3, scale);
    bias.random(4);
    epilogue.output = output.data(), epilogue.bias = bias.data();
    for (int s = 0; s < kSegments; ++s)
      for (int p = 0; p < kProducts; ++p)
        epilogue.weights[s][p] = (p ? weight1 : weight).data() + s * kColumns * kStride;
  }
  /// The weights in panels (codegen/Common/WeightPacking.h) from here on.
  void usePanels() {
    constexpr i64 kGroup = std::is_same_v<Weight, bf16> ? 2 : sizeof(Weight) == 1 ? 4 : 1, kPadded = (kDepth + kGroup - 1) / kGroup * kGroup;
    for (int s = 0; s < kSegments; ++s)
      for (int p = 0; p < kProducts; ++p) {
        i64 columns = Epilogue::columns(s);
        auto &panels = packed.emplace_back(std::make_unique<Buffer<Weight>>((columns + 15) / 16 * 16 * kPadded));
        for (i64 n = 0; n < columns; ++n)
          for (i64 k = 0; k < kDepth; ++k)
            (*panels)[n / 16 * kPadded * 16 + k / kGroup * 16 * kGroup + n % 16 * kGroup + k % kGroup] = epilogue.weights[s][p][n * kStride + k];
        epilogue.weights[s][p] = panels->data();
      }
  }
  /// For TMA: boxes of 128 bytes by boxRows.
  TensorMap makeMaps(unsigned boxRowsX, unsigned boxRows) {
    for (int s = 0; s < kSegments; ++s)
      for (int p = 0; p < kProducts; ++p)
        epilogue.maps[s][p] = tensorMap2(epilogue.weights[s][p], Epilogue::columns(s), kDepth, kStride, boxRows, 128 / sizeof(Weight));
    return tensorMap2(x.data(), rows, kDepth, kDepth, boxRowsX, 128 / sizeof(Input));
  }
  auto operands(i64 units) const { return std::tuple(x.data(), rows, units, epilogue); }
  void clear() { std::fill(output.data(), output.data() + output.size(), NAN); }
  /// Inputs count as what tensor cores see of them where `rounded`.
  double error(bool rounded = false) const {
    Error error;
    for (i64 row = 0; row < rows; ++row)
      for (i64 column = 0; column < kWidth; ++column) {
        double sum[2] = {};
        for (i64 k = 0; k < kDepth; ++k)
          for (int p = 0; p < kProducts; ++p) {
            float value = load(x[row * kDepth + k]);
            if constexpr (sizeof(Weight) == 2)
              value = rounded ? load(roundTo(Weight(), value)) : value;
            sum[p] += double(value) * load((p ? weight1 : weight)[column * kStride + k]);
          }
        error.add(output[row * kWidth + column], kProducts == 2 ? sum[0] * sum[1] : sum[0] + bias[column]);
      }
    return error.worst();
  }
  static bf16 roundTo(bf16, float x) { return toBf16(x); }
  static f16 roundTo(f16, float x) { return toF16(x); }
};

} // namespace llmopt::test

#endif // LLMOPT_TEST_CODEGEN_CUDA_LINEARDATA_H
