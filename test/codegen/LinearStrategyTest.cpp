//===- LinearStrategyTest.cpp - packed layouts and choices of tiles -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/ChooseStrategy.h"
#include "codegen/Common/QuantizedPanels.h"
#include "codegen/Common/WeightPacking.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace llmopt;

TEST(WeightPacking, PanelsOfSixteen) {
  constexpr int64_t kN = 18, kK = 3;
  std::vector<float> source(kN * kK), packed(2 * kK * 16, -1);
  for (int64_t n = 0; n < kN; ++n)
    for (int64_t k = 0; k < kK; ++k)
      source[size_t(n * kK + k)] = float(100 * n + k);
  ASSERT_EQ(packedMatrixBytes("panel16", DType::F32, kN, kK), int64_t(packed.size() * 4));
  ASSERT_TRUE(packWeight("panel16", DType::F32, kN, kK, true, std::as_bytes(std::span(source)), std::as_writable_bytes(std::span(packed))).ok());
  for (int64_t n = 0; n < 32; ++n)
    for (int64_t k = 0; k < kK; ++k)
      EXPECT_EQ(packed[size_t((n / 16 * kK + k) * 16 + n % 16)], n < kN ? float(100 * n + k) : 0) << n << "," << k;
}

TEST(WeightPacking, PairsOfInputsFromTransposed) {
  constexpr int64_t kN = 17, kK = 5; // odd: the last pair is half zero
  std::vector<uint16_t> source(kN * kK), packed(2 * 3 * 32, 0xffff);
  for (int64_t k = 0; k < kK; ++k)
    for (int64_t n = 0; n < kN; ++n)
      source[size_t(k * kN + n)] = uint16_t(100 * n + k);
  ASSERT_EQ(packedMatrixBytes("panel16x2", DType::BF16, kN, kK), int64_t(packed.size() * 2));
  ASSERT_TRUE(packWeight("panel16x2", DType::BF16, kN, kK, false, std::as_bytes(std::span(source)), std::as_writable_bytes(std::span(packed))).ok());
  for (int64_t n = 0; n < 32; ++n)
    for (int64_t k = 0; k < 6; ++k)
      EXPECT_EQ(packed[size_t(((n / 16 * 3 + k / 2) * 16 + n % 16) * 2 + k % 2)], n < kN && k < kK ? 100 * n + k : 0) << n << "," << k;
}

TEST(WeightPacking, RefusesWrongSizes) {
  std::vector<float> source(4), packed(16);
  EXPECT_FALSE(packWeight("panel16", DType::F32, 5, 1, true, std::as_bytes(std::span(source)), std::as_writable_bytes(std::span(packed))).ok());
  EXPECT_FALSE(packWeight("panel99", DType::F32, 4, 1, true, std::as_bytes(std::span(source)), std::as_writable_bytes(std::span(packed))).ok());
}

TEST(QuantizedPanels, LayoutsHaveNames) {
  for (const QuantizedPanels &panels : {QuantizedPanels{4, 32, DType::F32, true}, QuantizedPanels{8, 0, DType::BF16, false}, QuantizedPanels{4, 128, DType::F16, false},
                                        QuantizedPanels{4, 32, DType::F32, true, CodeOrder::Words}}) {
    std::optional<QuantizedPanels> read = QuantizedPanels::ofLayout(panels.layout());
    ASSERT_TRUE(read) << panels.layout();
    EXPECT_TRUE(*read == panels) << panels.layout();
  }
  for (const char *layout : {"panel16", "panel16x2", "panel16q", "panel16w", "panel16q4", "panel16x4b32f32", "panel16q4b32x9"})
    EXPECT_FALSE(QuantizedPanels::ofLayout(layout)) << layout;
}

TEST(QuantizedPanels, PutsCodesWhereLanesHoldThem) {
  QuantizedPanels panels{4, 32, DType::F32, true};
  constexpr int64_t kN = 18, kK = 70; // two panels, two pieces, the second nearly empty
  std::vector<uint8_t> codes(kN * kK);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = uint8_t(i * 7 % 16) - 8; // signed
  QuantizedMatrix matrix{kN, kK, codes.data(), kK, 1, 8, {}, {}};
  for (int64_t i = 0; i < kN * panels.blocks(kK); ++i) {
    matrix.scales.push_back(float(i));
    matrix.zeros.push_back(uint8_t(i % 16));
  }
  ASSERT_EQ(panels.panelBytes(kK), 2 * 512 + 4 * 16 * 5);
  std::vector<std::byte> packed(size_t(packedMatrixBytes(panels.layout(), DType::F32, kN, kK)));
  ASSERT_EQ(packed.size(), 2u * (2 * 512 + 4 * 16 * 5));
  ASSERT_TRUE(packQuantized(panels, matrix, packed).ok());
  auto codeAt = [&](int64_t n, int64_t k) {
    int64_t lane = n % 8 * 4 + k % 16 / 4, bit = n % 16 / 8 * 8 + k / 2 % 2 * 4 + k % 2 * 16;
    const std::byte *words = packed.data() + n / 16 * panels.panelBytes(kK) + (k / 64 * 32 + lane) * 16 + k % 64 / 16 * 4;
    return int(words[bit / 8] >> (bit % 8) & std::byte(15));
  };
  for (int64_t n = 0; n < kN; ++n)
    for (int64_t k = 0; k < kK; ++k)
      EXPECT_EQ(codeAt(n, k), (n * kK + k) * 7 % 16) << n << "," << k;
  EXPECT_EQ(codeAt(17, 75), int(matrix.zeros[17 * 3 + 2])) << "inputs beyond K are zero points";
  codes[5] = 9; // 17 with the offset
  EXPECT_FALSE(packQuantized(panels, matrix, packed).ok());
  EXPECT_FALSE(packQuantized(panels, matrix, std::span(packed).first(100)).ok());
}

TEST(CacheLayout, BlockOfWholeVectors) {
  EXPECT_EQ(cacheBlockBytes(8, 64, 64, DType::F32), 8 * (64 * 64 + 64 * 64) * 4);
  // Values are padded to panels of 16 features; every block begins at a multiple of 64 bytes.
  EXPECT_EQ(cacheBlockBytes(1, 17, 5, DType::F32), (64 * 17 + 64 * 16) * 4);
  EXPECT_EQ(cacheBlockBytes(3, 17, 5, DType::F32) % 64, 0);
}

namespace {

std::string printed(mlir::Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  attribute.print(stream);
  return text;
}

strategy::GemmAttr choose(mlir::MLIRContext &context, const char *target, GemmFacts facts) {
  context.loadDialect<strategy::StrategyDialect>();
  return chooseGemm(&context, *findTarget(target), facts);
}

} // namespace

TEST(ChooseStrategy, BucketsGrowAndTheLastIsOpen) {
  mlir::MLIRContext context;
  for (const char *target : {"x86-64", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16", "x86-64-v4-amx"})
    for (int64_t weightBytes : {2, 4}) {
      strategy::GemmAttr gemm = choose(context, target, {.depth = 2048, .weightBytes = weightBytes});
      int64_t before = 0;
      for (strategy::GemmBucketAttr bucket : gemm.getBuckets().drop_back()) {
        EXPECT_GT(bucket.getMaxM(), before);
        // A bucket without row blocks is for one number of rows.
        if (bucket.getMBlock() == 0) {
          EXPECT_EQ(bucket.getMaxM(), before + 1);
          EXPECT_EQ(bucket.getRows(), bucket.getMaxM());
        }
        before = bucket.getMaxM();
      }
      EXPECT_EQ(gemm.getBuckets().back().getMaxM(), 0);
      EXPECT_GT(gemm.getBuckets().back().getMBlock(), 0);
    }
}

TEST(ChooseStrategy, TileRegistersTakeWhatFillsThem) {
  mlir::MLIRContext context;
  GemmFacts words{.depth = 1024, .bf16Products = true, .words = true};
  strategy::GemmAttr gemm = choose(context, "x86-64-v4-amx", words);
  EXPECT_TRUE(gemm.getAmx());
  for (strategy::GemmBucketAttr bucket : gemm.getBuckets())
    if (bucket.getMBlock() != 0)
      EXPECT_TRUE(bucket.getRows() % 16 == 0 && bucket.getRows() / 16 * (bucket.getColumns() / 16) == 4 && bucket.getKBlock() % 16 == 0) << printed(bucket);
  EXPECT_EQ(mlir::parseAttribute(printed(gemm), &context), gemm) << printed(gemm);
  EXPECT_FALSE(choose(context, "x86-64-v4-bf16", words).getAmx());
  EXPECT_FALSE(choose(context, "x86-64-v4-amx", {.depth = 1025, .bf16Products = true, .words = true}).getAmx());
  EXPECT_FALSE(choose(context, "x86-64-v4-amx", {.depth = 1024}).getAmx());
}

// Weights of more than one term are split: up to 16 rows a step ahead, K in one piece.
TEST(ChooseStrategy, TermsAreForTileRegisters) {
  mlir::MLIRContext context;
  for (bool splits : {false, true}) {
    strategy::GemmAttr gemm = choose(context, "x86-64-v4-amx", {.depth = 1024, .terms = 3, .splitsWeights = splits, .words = true});
    EXPECT_TRUE(gemm.getAmx() && gemm.getTerms() == 3 && !gemm.getBf16Products());
    EXPECT_EQ(mlir::parseAttribute(printed(gemm), &context), gemm) << printed(gemm);
    for (strategy::GemmBucketAttr bucket : gemm.getBuckets())
      EXPECT_TRUE(bucket.getMaxM() > 16 || bucket.getMaxM() == 0 || bucket.getKBlock() == 1024) << printed(bucket);
  }
}

TEST(ChooseStrategy, StaticRowsNeedOneBucket) {
  mlir::MLIRContext context;
  for (int64_t rows : {1, 3, 20, 500})
    EXPECT_EQ(choose(context, "x86-64-v3", {.depth = 768, .rows = rows}).getBuckets().size(), 1u) << rows;
}

TEST(ChooseStrategy, TextRoundTrip) {
  mlir::MLIRContext context;
  for (const GemmFacts &facts : {GemmFacts{.depth = 1024}, {.depth = 1024, .bf16Products = true}, {.depth = 1024, .codes = true}, {.depth = 1024, .codes = true, .int8Products = true}}) {
    strategy::GemmAttr gemm = choose(context, "x86-64-v3", facts);
    EXPECT_EQ(mlir::parseAttribute(printed(gemm), &context), gemm) << printed(gemm);
    EXPECT_EQ(gemm.getInt8Products(), facts.int8Products);
  }
}
