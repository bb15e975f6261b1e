//===- QuantizedTest.cpp - weights of 4 and 8 bits, emulated --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LinearData.h"

#include "codegen/CUDA/kernels/quantized.cuh"

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/gemm_mma.cuh"
#include "codegen/CUDA/kernels/gemm_quantized.cuh"
#include "codegen/CUDA/kernels/gemm_split.cuh"
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
#include "codegen/CUDA/kernels/gemv.cuh"
#include "codegen/CUDA/kernels/gemv_quantized.cuh"

namespace no_barrier { // injected: a barrier is missing
#define blockSync()
#include "codegen/CUDA/kernels/gemm_quantized.cuh"
#undef blockSync
} // namespace no_barrier

namespace few_no_barrier { // injected: sums are read before all warps have written theirs
#define blockSync()
#include "codegen/CUDA/kernels/gemv_quantized.cuh"
#undef blockSync
} // namespace few_no_barrier

namespace short_wait { // injected: waits for one group too few
template <u32 kNewest>
void waitForOneLess() {
  copyAsyncWait < kNewest ? kNewest + 1 : 0 > ();
}
#define copyAsyncWait waitForOneLess
#include "codegen/CUDA/kernels/gemm_quantized.cuh"
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
#undef copyAsyncWait
} // namespace short_wait

namespace wrong_parity { // injected: products look at the wrong bit of the phase
#define mbarrierWait(barrier, parity) mbarrierWait(barrier, (parity) ^ 1)
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
#undef mbarrierWait
} // namespace wrong_parity

namespace early_sums { // injected: sums are scaled, and slices given back, while products are in flight
template <u32 kNewest>
void waitForOneLess() {
  wgmmaWait<kNewest + 1>();
}
#define wgmmaWait waitForOneLess
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
#undef wgmmaWait
} // namespace early_sums

namespace no_warp_barrier { // injected: rounded rows overwrite floats that others still read
#define warpSync()
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
#undef warpSync
} // namespace no_warp_barrier

namespace wrong_turn { // injected: a new ring counts as full
#define mbarrierWait(barrier, parity) mbarrierWait(barrier, (parity) ^ 1)
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#undef mbarrierWait
#include "codegen/CUDA/kernels/gemm_wgmma_quantized.cuh"
} // namespace wrong_turn

template <class WeightType, class ScaleType, int kSize, int kCodeBits, int kOfBlock, int kZeroPoint, int kFewRows = 8, int kPanelsOfUnit = 1>
struct Layer {
  typedef float Input;
  typedef WeightType Weight;
  typedef ScaleType Scale;
  static constexpr bool kPanels = true;
  static constexpr int kDepth = kSize, kBits = kCodeBits, kBlock = kOfBlock, kZero = kZeroPoint;
  static constexpr int kRows = kFewRows, kAbreast = kPanelsOfUnit, kWarps = 4, kTileM = 64, kTileN = 64, kStages = 3, kWarpsM = 2, kWarpsN = 2, kSplits = 2;
};

/// For tiles of other heights.
template <class Layer, int kRowsOfTile>
struct Tall : Layer {
  static constexpr int kTileM = kRowsOfTile;
};

/// One layer's codes, scales and zero points, its panels, and its result in double.
template <class Layer, int kProducts, int kColumns, int kSegments>
struct Quantized {
  typedef TestEpilogue<u8, kProducts, kColumns, kSegments> Epilogue;
  typedef typename Layer::Weight Weight;
  static constexpr int kDepth = Layer::kDepth, kBits = Layer::kBits, kGroup = Layer::kBlock ? Layer::kBlock : kDepth, kGroups = (kDepth + kGroup - 1) / kGroup;
  static constexpr i64 kWidth = kSegments == 1 ? kColumns : kColumns + Epilogue::kTail;
  i64 rows;
  Buffer<float> x, bias, output;
  std::vector<int> codes[kProducts], zeros[kProducts];
  std::vector<typename Layer::Scale> scales[kProducts];
  Epilogue epilogue;
  std::vector<std::unique_ptr<Buffer<u8>>> packed;

  explicit Quantized(i64 rows) : rows(rows), x(rows * kDepth), bias(kWidth), output(rows * kWidth) {
    x.random(1), bias.random(4);
    epilogue.output = output.data(), epilogue.bias = bias.data();
    std::mt19937 random(7);
    for (int p = 0; p < kProducts; ++p) {
      for (i64 i = 0; i < kWidth * kDepth; ++i)
        codes[p].push_back(int(random() % (1u << kBits)));
      for (i64 i = 0; i < kWidth * kGroups; ++i) {
        zeros[p].push_back(Layer::kZero < 0 ? int(random() % (1u << kBits)) : Layer::kZero);
        store(scales[p].emplace_back(), float(random() % 1000 + 1) / float(1000 << (kBits - 1)));
      }
    }
    for (int s = 0; s < kSegments; ++s)
      for (int p = 0; p < kProducts; ++p)
        epilogue.weights[s][p] = pack(s, p);
  }

  /// As codegen/Common/QuantizedPanels.h describes it, written from there anew.
  const u8 *pack(int segment, int p) {
    typedef QuantizedPanel<Layer> Panel;
    i64 columns = Epilogue::columns(segment), first = segment * kColumns;
    auto &bytes = *packed.emplace_back(std::make_unique<Buffer<u8>>((columns + 15) / 16 * Panel::kBytes));
    for (i64 n = 0; n < columns; ++n) {
      u8 *panel = bytes.data() + n / 16 * Panel::kBytes;
      for (i64 k = 0; k < kDepth; ++k) {
        i64 step = k / 16 % 4, lane = n % 8 * 4 + k % 16 / 4, pair = n / 8 % 2 * 2 + k / 2 % 2, code = codes[p][(first + n) * kDepth + k];
        if (kBits == 4)
          panel[(k / 64 * 32 + lane) * 16 + step * 4 + pair / 2 + k % 2 * 2] |= u8(code << (pair % 2 * 4));
        else
          panel[((k / 32 * 32) + lane) * 16 + (step % 2 * 2 + pair % 2) * 4 + pair / 2 * 2 + k % 2] = u8(code);
      }
      for (i64 g = 0; g < kGroups; ++g) {
        memcpy(panel + Panel::kScalesAt + (g * 16 + n % 16) * sizeof(scales[p][0]), &scales[p][(first + n) * kGroups + g], sizeof(scales[p][0]));
        if (Panel::kOwnZeros)
          panel[Panel::kZerosAt + g * 16 + n % 16] = u8(zeros[p][(first + n) * kGroups + g]);
      }
    }
    return bytes.data();
  }
  auto operands(i64 units) const { return std::tuple(x.data(), rows, units, epilogue); }
  void clear() { std::fill(output.data(), output.data() + output.size(), NAN); }
  double error(bool rounded) const {
    Error error;
    for (i64 row = 0; row < rows; ++row)
      for (i64 column = 0; column < kWidth; ++column) {
        double sum[2] = {};
        for (i64 k = 0; k < kDepth; ++k) {
          float value = x[row * kDepth + k];
          if (rounded)
            value = sizeof(Weight) == 2 && std::is_same_v<Weight, bf16> ? toFloat(toBf16(value)) : toFloat(toF16(value));
          for (int p = 0; p < kProducts; ++p) {
            i64 block = column * kGroups + k / kGroup;
            sum[p] += double(value) * (codes[p][column * kDepth + k] - zeros[p][block]) * load(scales[p][block]);
          }
        }
        error.add(output[row * kWidth + column], kProducts == 2 ? sum[0] * sum[1] : sum[0] + bias[column]);
      }
    return error.worst();
  }
};

/// Few rows: as exact as 16 bits of x are.
template <class Weight, class Scale, int kDepth, int kBits, int kBlock, int kZero, int kProducts, int kSegments>
void checkFew() {
  typedef Quantized<Layer<Weight, Scale, kDepth, kBits, kBlock, kZero>, kProducts, 53, kSegments> Data;
  auto check = [](auto layer, i64 rows) {
    Data data(rows);
    EXPECT_LT((worstError<GemvQuantized<decltype(layer), typename Data::Epilogue>>(data, 3, false)), 1e-4) << "rows " << rows;
  };
  check(Layer<Weight, Scale, kDepth, kBits, kBlock, kZero, 8>(), 1);
  check(Layer<Weight, Scale, kDepth, kBits, kBlock, kZero, 8>(), 11);
  check(Layer<Weight, Scale, kDepth, kBits, kBlock, kZero, 16>(), 13);
  check(Layer<Weight, Scale, kDepth, kBits, kBlock, kZero, 16, 2>(), 13); // of 53 and of 37 columns: whole and half units
}
TEST(GemvQuantized, FourBitsOwnZeros) { checkFew<bf16, float, 200, 4, 32, -1, 1, 2>(); }
TEST(GemvQuantized, FourBitsBlocksOf16OfOddDepth) { checkFew<bf16, f16, 397, 4, 16, 8, 1, 1>(); }
TEST(GemvQuantized, FourBitsF16Gated) { checkFew<f16, f16, 520, 4, 128, -1, 2, 1>(); }
TEST(GemvQuantized, EightBitsByColumn) { checkFew<bf16, float, 300, 8, 0, 128, 1, 2>(); }
TEST(GemvQuantized, EightBitsF16GatedOwnZeros) { checkFew<f16, bf16, 140, 8, 64, -1, 2, 1>(); }
TEST(GemvQuantized, EightBitsBf16OwnZeros) { checkFew<bf16, bf16, 200, 8, 32, -1, 2, 1>(); }

template <class Weight, class Scale, int kDepth, int kBits, int kBlock, int kZero, int kProducts, int kSegments>
void checkMany() {
  typedef Layer<Weight, Scale, kDepth, kBits, kBlock, kZero> TestLayer;
  typedef Quantized<TestLayer, kProducts, 101, kSegments> Data;
  for (i64 rows : {1, 63, 70}) {
    Data data(rows);
    EXPECT_LT((worstError<GemmQuantized<TestLayer, typename Data::Epilogue>>(data, 3, true)), 2e-5) << "rows " << rows;
  }
}
TEST(GemmQuantized, FourBitsOwnZeros) { checkMany<bf16, float, 200, 4, 32, -1, 1, 2>(); }
TEST(GemmQuantized, FourBitsF16BlocksOf16Gated) { checkMany<f16, f16, 140, 4, 16, -1, 2, 1>(); }
TEST(GemmQuantized, FourBitsBlocksOf128) { checkMany<bf16, bf16, 392, 4, 128, 8, 1, 1>(); }
TEST(GemmQuantized, EightBitsByColumn) { checkMany<bf16, float, 268, 8, 0, 128, 1, 1>(); }
TEST(GemmQuantized, EightBitsF16OwnZeros) { checkMany<f16, float, 196, 8, 64, -1, 1, 2>(); }

template <class Weight, class Scale, int kDepth, int kBits, int kBlock, int kZero, int kProducts, int kSegments, int kTileM>
void checkHopper() {
  typedef Tall<Layer<Weight, Scale, kDepth, kBits, kBlock, kZero>, kTileM> TestLayer;
  typedef Quantized<TestLayer, kProducts, 149, kSegments> Data;
  for (i64 rows : {1, 70, 131}) {
    Data data(rows);
    EXPECT_LT((worstError<GemmWgmmaQuantized<TestLayer, typename Data::Epilogue>>(data, 2, true)), 2e-5) << "rows " << rows;
  }
}
TEST(GemmWgmmaQuantized, FourBitsOwnZeros) { checkHopper<bf16, float, 200, 4, 32, -1, 1, 2, 64>(); }
TEST(GemmWgmmaQuantized, FourBitsF16BlocksOf16Gated) { checkHopper<f16, f16, 140, 4, 16, -1, 2, 1, 32>(); }
TEST(GemmWgmmaQuantized, FourBitsBlocksOf128) { checkHopper<bf16, bf16, 392, 4, 128, 8, 1, 1, 128>(); }
TEST(GemmWgmmaQuantized, EightBitsByColumn) { checkHopper<bf16, float, 268, 8, 0, 128, 1, 1, 64>(); }
TEST(GemmWgmmaQuantized, EightBitsF16OwnZeros) { checkHopper<f16, float, 196, 8, 64, -1, 1, 2, 128>(); }

TEST(GemmQuantized, SharesKBetweenBlocks) {
  typedef Layer<bf16, float, 396, 4, 32, -1> TestLayer;
  typedef Quantized<TestLayer, 1, 101, 2> Data;
  typedef GemmSplit<TestLayer, Data::Epilogue, GemmQuantized<TestLayer, Data::Epilogue>> Family;
  Data data(33);
  i64 units = Family::units(data.rows);
  Buffer<float> parts(units * Family::kSums * Family::kThreads, NAN);
  Buffer<u32> counters(units / Family::kSplits);
  EXPECT_LT((worstError<Family>(data, 5, true, parts.data(), counters.data())), 2e-5);
}

TEST(GemmQuantized, InjectedErrorsAreCaught) {
  typedef Layer<bf16, float, 264, 4, 32, -1> TestLayer;
  typedef Quantized<TestLayer, 1, 101, 1> Data;
  Data data(64), few(5);
  EXPECT_LT((worstError<GemmQuantized<TestLayer, Data::Epilogue>>(data, 1, true)), 2e-5);
  EXPECT_GT((worstError<no_barrier::GemmQuantized<TestLayer, Data::Epilogue>>(data, 1, true)), 0.1);
  EXPECT_GT((worstError<short_wait::GemmQuantized<TestLayer, Data::Epilogue>>(data, 1, true)), 0.1);
  EXPECT_GT((worstError<few_no_barrier::GemvQuantized<TestLayer, Data::Epilogue>>(few, 1, false)), 0.1);
}

TEST(GemmWgmmaQuantized, InjectedErrorsAreCaught) {
  typedef Layer<bf16, float, 456, 4, 32, -1> TestLayer;
  typedef Quantized<TestLayer, 1, 101, 1> Data;
  Data data(70);
  EXPECT_FALSE((isCaught<GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
  EXPECT_TRUE((isCaught<short_wait::GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
  EXPECT_TRUE((isCaught<wrong_parity::GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
  EXPECT_TRUE((isCaught<early_sums::GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
  EXPECT_TRUE((isCaught<no_warp_barrier::GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
  EXPECT_TRUE((isCaught<wrong_turn::GemmWgmmaQuantized<TestLayer, Data::Epilogue>>(data, 1)));
}

} // namespace
