//===- LinearStrategyTest.cpp - packed layouts and choices of tiles -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/ChooseStrategy.h"
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
  for (const char *target : {"x86-64", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"})
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

TEST(ChooseStrategy, StaticRowsNeedOneBucket) {
  mlir::MLIRContext context;
  for (int64_t rows : {1, 3, 20, 500})
    EXPECT_EQ(choose(context, "x86-64-v3", {.depth = 768, .rows = rows}).getBuckets().size(), 1u) << rows;
}

TEST(ChooseStrategy, TextRoundTrip) {
  mlir::MLIRContext context;
  strategy::GemmAttr gemm = choose(context, "x86-64-v3", {.depth = 1024});
  EXPECT_EQ(mlir::parseAttribute(printed(gemm), &context), gemm) << printed(gemm);
}
