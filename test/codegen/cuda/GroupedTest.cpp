//===- GroupedTest.cpp - products with the weights of experts, emulated ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

using namespace llmopt::test;

namespace {

#include "codegen/CUDA/kernels/gemm_mma.cuh"
#include "codegen/CUDA/kernels/gemv.cuh"
#include "codegen/CUDA/kernels/group_rows.cuh"
#include "codegen/CUDA/kernels/grouped.cuh"
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#include "codegen/CUDA/kernels/grouped_wgmma.cuh"

namespace no_barrier { // injected: barriers are missing
#define blockSync()
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#include "codegen/CUDA/kernels/gemv.cuh"
#include "codegen/CUDA/kernels/group_rows.cuh"
#include "codegen/CUDA/kernels/grouped.cuh"
#undef blockSync
} // namespace no_barrier

namespace wrong_row { // injected: more rows share a row of x than do
#define kShared kExperts
#include "codegen/CUDA/kernels/gemm_mma.cuh"
#include "codegen/CUDA/kernels/gemv.cuh"
#include "codegen/CUDA/kernels/grouped.cuh"
#include "codegen/CUDA/kernels/grouped_wgmma.cuh"
#undef kShared
} // namespace wrong_row

namespace early_release { // injected: a slice is given back, and the next weights take the place of these, while products are in flight
template <u32 kNewest>
void waitForOneLess() {
  wgmmaWait<kNewest + 1>();
}
#define wgmmaWait waitForOneLess
#include "codegen/CUDA/kernels/grouped_wgmma.cuh"
#undef wgmmaWait
} // namespace early_release

namespace no_warp_barrier { // injected: rounded rows overwrite floats that others still read
#define warpSync()
#include "codegen/CUDA/kernels/wgmma_rows.cuh"
#include "codegen/CUDA/kernels/grouped_wgmma.cuh"
#undef warpSync
} // namespace no_warp_barrier

namespace wrong_place { // injected: a tile's rows are found at the next tile's places
#define sourceOf(first, rows) sourceOf((first) + 1, rows)
#include "codegen/CUDA/kernels/grouped_wgmma.cuh"
#undef sourceOf
} // namespace wrong_place

/// Of one product, and as a gate of two.
template <int kCount, int kColumns>
struct TestEpilogue {
  static constexpr int kProducts = kCount, kSegments = 1;
  static constexpr i64 columns(int) { return kColumns; }
  const void *weights[kCount];
  float *output;
  const void *weight(int, int product) const { return weights[product]; }
  template <int N>
  void store(int, i64 row, i64 column, const float (&products)[kProducts][N]) const {
    ASSERT_LE(column + N, kColumns);
    for (int c = 0; c < N; ++c) {
      float &to = output[row * kColumns + column + c];
      ASSERT_TRUE(std::isnan(to)) << "written twice";
      to = kCount == 2 ? products[0][c] * products[kCount - 1][c] : products[0][c];
    }
  }
};

template <class WeightType, int kSize, int kExpertCount, int kSharing>
struct Layer {
  typedef float Input;
  typedef WeightType Weight;
  static constexpr bool kPanels = true;
  static constexpr int kDepth = kSize, kTileM = 64, kTileN = 64, kStages = 3, kWarpsM = 2, kWarpsN = 2; // for GroupedMma
  static constexpr int kRows = 1, kWarps = 4;                                                          // for GroupedGemv
  static constexpr int kExperts = kExpertCount, kShared = kSharing;
};

template <class Weight, int kDepth, int kProducts, int kColumns, int kExperts, int kShared>
struct Data {
  typedef TestEpilogue<kProducts, kColumns> Epilogue;
  static constexpr i64 kGroup = std::is_same_v<Weight, bf16> ? 2 : 1, kPadded = (kDepth + kGroup - 1) / kGroup * kGroup, kPanels = (kColumns + 15) / 16;
  i64 rows;
  std::vector<int> expertOf; ///< by row
  Buffer<float> x, output;
  Buffer<i32> order, offsets;
  std::vector<std::unique_ptr<Buffer<Weight>>> weights; ///< packed

  /// Some experts have many rows, some one, some none.
  explicit Data(i64 tokens) : rows(tokens * kShared), x(tokens * kDepth), output(rows * kColumns), order(rows), offsets(kExperts + 1) {
    std::mt19937 random(9);
    for (i64 row = 0; row < rows; ++row)
      expertOf.push_back(random() % 3 ? int(random() % 2) * (kExperts - 1) : int(random() % kExperts));
    i32 place = 0;
    for (int e = 0; e <= kExperts; ++e) {
      offsets[e] = place;
      for (i64 row = 0; e < kExperts && row < rows; ++row)
        if (expertOf[row] == e)
          order[place++] = i32(row);
    }
    x.random(1);
    for (int p = 0; p < kProducts; ++p) {
      auto &packed = weights.emplace_back(std::make_unique<Buffer<Weight>>(kExperts * kPanels * 16 * kPadded));
      std::uniform_real_distribution<float> uniform(-1, 1);
      for (i64 e = 0; e < kExperts; ++e)
        for (i64 n = 0; n < kColumns; ++n)
          for (i64 k = 0; k < kDepth; ++k)
            store(at(p, e, n, k), uniform(random));
    }
  }
  Weight &at(int p, i64 e, i64 n, i64 k) const {
    return (*weights[p])[(e * kPanels + n / 16) * kPadded * 16 + k / kGroup * 16 * kGroup + n % 16 * kGroup + k % kGroup];
  }
  Epilogue epilogue() const {
    Epilogue result;
    for (int p = 0; p < kProducts; ++p)
      result.weights[p] = weights[p]->data();
    result.output = output.data();
    return result;
  }
  auto operands(i64 units) const { return std::tuple(x.data(), order.data(), offsets.data(), rows, units, epilogue()); }
  void clear() { std::fill(output.data(), output.data() + output.size(), NAN); }
  double error(bool rounded) const {
    Error error;
    for (i64 row = 0; row < rows; ++row)
      for (i64 n = 0; n < kColumns; ++n) {
        double sum[2] = {};
        for (i64 k = 0; k < kDepth; ++k)
          for (int p = 0; p < kProducts; ++p) {
            float value = x[row / kShared * kDepth + k];
            if constexpr (sizeof(Weight) == 2)
              if (rounded) {
                Weight narrow;
                store(narrow, value);
                value = load(narrow);
              }
            sum[p] += double(value) * load(at(p, expertOf[row], n, k));
          }
        error.add(output[row * kColumns + n], kProducts == 2 ? sum[0] * sum[1] : sum[0]);
      }
    return error.worst();
  }
};

template <class Family, class Data>
double mmaError(Data &data, unsigned blocks = 5) {
  return worstError<Family>(data, blocks, true);
}
template <class Family, class Data>
double gemvError(Data &data, unsigned blocks = 5) {
  return worstError<Family>(data, blocks, false);
}

template <class Weight, int kDepth, int kProducts, int kExperts, int kShared>
void checkMma(std::initializer_list<i64> tokens) {
  typedef Data<Weight, kDepth, kProducts, 101, kExperts, kShared> TestData;
  for (i64 count : tokens) {
    TestData data(count);
    EXPECT_LT((mmaError<GroupedMma<Layer<Weight, kDepth, kExperts, kShared>, typename TestData::Epilogue>>(data)), 2e-5) << count << " tokens";
  }
}
template <class Weight, int kDepth, int kProducts, int kExperts, int kShared>
void checkGemv(std::initializer_list<i64> tokens) {
  typedef Data<Weight, kDepth, kProducts, 53, kExperts, kShared> TestData;
  for (i64 count : tokens) {
    TestData data(count);
    EXPECT_LT((gemvError<GroupedGemv<Layer<Weight, kDepth, kExperts, kShared>, typename TestData::Epilogue>>(data)), 1e-4) << count << " tokens";
  }
}

template <class Weight, int kDepth, int kProducts, int kExperts, int kShared, int kColumns>
void checkWgmma(std::initializer_list<i64> tokens) {
  typedef Data<Weight, kDepth, kProducts, kColumns, kExperts, kShared> TestData;
  for (i64 count : tokens) {
    TestData data(count);
    EXPECT_LT((mmaError<GroupedWgmma<Layer<Weight, kDepth, kExperts, kShared>, typename TestData::Epilogue>>(data, 3)), 2e-5) << count << " tokens";
  }
}

TEST(GroupedWgmma, Bf16) { checkWgmma<bf16, 140, 1, 5, 1, 101>({1, 63, 131}); }
TEST(GroupedWgmma, F16GatedOfManyExperts) { checkWgmma<f16, 76, 2, 70, 3, 53>({1, 11}); }
TEST(GroupedWgmma, Bf16GatedInTwoTiles) { checkWgmma<bf16, 196, 2, 3, 2, 277>({40}); }
TEST(GroupedWgmma, F16) { checkWgmma<f16, 68, 1, 1, 2, 261>({33}); }

TEST(GroupedMma, Bf16) { checkMma<bf16, 140, 1, 5, 1>({1, 63, 131}); }
TEST(GroupedMma, F16GatedOfManyExperts) { checkMma<f16, 76, 2, 70, 3>({1, 11}); }
TEST(GroupedMma, OneExpert) { checkMma<bf16, 68, 2, 1, 2>({1, 65}); }
TEST(GroupedMma, F32AsThreeProductsOfTf32) { checkMma<float, 76, 1, 5, 2>({1, 40}); }
TEST(GroupedMma, F32Gated) { checkMma<float, 140, 2, 3, 1>({70}); }
TEST(GroupedGemv, Bf16OfOddDepthGated) { checkGemv<bf16, 523, 2, 6, 2>({0, 1, 7}); }
TEST(GroupedGemv, F32OfManyExperts) { checkGemv<float, 37, 1, 100, 8>({1, 9}); }
TEST(GroupedGemv, F16) { checkGemv<f16, 130, 1, 33, 1>({5}); }

TEST(GroupedMma, InjectedErrorsAreCaught) {
  typedef Data<bf16, 264, 1, 101, 5, 2> TestData;
  typedef Layer<bf16, 264, 5, 2> TestLayer;
  TestData data(40);
  EXPECT_LT((mmaError<GroupedMma<TestLayer, TestData::Epilogue>>(data, 2)), 2e-5);
  EXPECT_GT((mmaError<no_barrier::GroupedMma<TestLayer, TestData::Epilogue>>(data, 2)), 0.1);
  TestData few(3);
  EXPECT_LT((gemvError<GroupedGemv<TestLayer, TestData::Epilogue>>(few, 2)), 1e-4);
  EXPECT_GT((gemvError<no_barrier::GroupedGemv<TestLayer, TestData::Epilogue>>(few, 2)), 0.1);
  EXPECT_GT((mmaError<wrong_row::GroupedMma<TestLayer, TestData::Epilogue>>(data, 2)), 0.1);
  EXPECT_GT((gemvError<wrong_row::GroupedGemv<TestLayer, TestData::Epilogue>>(few, 2)), 0.1);
}

TEST(GroupedWgmma, InjectedErrorsAreCaught) {
  typedef Data<bf16, 264, 1, 101, 5, 2> TestData;
  typedef Layer<bf16, 264, 5, 2> TestLayer;
  TestData data(40);
  EXPECT_FALSE((isCaught<GroupedWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<wrong_row::GroupedWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<early_release::GroupedWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<no_warp_barrier::GroupedWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
  EXPECT_TRUE((isCaught<wrong_place::GroupedWgmma<TestLayer, TestData::Epilogue>>(data, 2)));
}

template <class Problem, template <class> class Family>
void sortEntry(const typename Problem::Index *chosen, i32 *order, i32 *offsets, i64 rows) {
  Family<Problem>::run(chosen, order, offsets, rows);
}
template <class IndexType, int kCount>
struct Sorting {
  typedef IndexType Index;
  static constexpr int kExperts = kCount, kThreads = 128;
};

/// How many numbers are wrong, over all modes.
template <class Problem, template <class> class Family>
i64 wrongNumbers(i64 rows) {
  constexpr int kExperts = Problem::kExperts;
  Buffer<typename Problem::Index> chosen(rows);
  std::mt19937 random(4);
  std::vector<int> expertOf;
  for (i64 row = 0; row < rows; ++row) {
    chosen[row] = int(random() % (kExperts + 4)) - 2;
    expertOf.push_back(std::clamp(int(chosen[row]), 0, kExperts - 1));
  }
  i64 wrong = 0;
  for (const char *mode : kModes) {
    Buffer<i32> order(rows, -1), offsets(kExperts + 1, -1);
    EXPECT_EQ(launch(mode, sortEntry<Problem, Family>, 1, Problem::kThreads, 0, chosen.data(), order.data(), offsets.data(), rows), "");
    i32 place = 0;
    for (int e = 0; e <= kExperts; ++e) {
      wrong += offsets[e] != place;
      for (i64 row = 0; e < kExperts && row < rows; ++row)
        if (expertOf[row] == e)
          wrong += order[place++] != row;
    }
  }
  return wrong;
}
TEST(GroupRows, SortsStably) {
  for (i64 rows : {0, 1, 31, 33, 200}) {
    EXPECT_EQ((wrongNumbers<Sorting<i64, 7>, GroupRows>(rows)), 0) << rows;
    EXPECT_EQ((wrongNumbers<Sorting<i32, 130>, GroupRows>(rows)), 0) << rows;
  }
  EXPECT_EQ((wrongNumbers<Sorting<i64, 1>, GroupRows>(40)), 0);
}
TEST(GroupRows, InjectedErrorsAreCaught) { EXPECT_DEATH((wrongNumbers<Sorting<i64, 7>, no_barrier::GroupRows>(200)), ""); }

} // namespace
