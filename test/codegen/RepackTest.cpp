//===- RepackTest.cpp - codes of CPUs made those of GPUs, emulated --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#define LLMOPT_EMULATE
#include "codegen/CUDA/kernels/prelude.cuh"
#include "codegen/CUDA/kernels/repack.cuh"

#include "codegen/Common/QuantizedPanels.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"

#include <gtest/gtest.h>
#include <random>

using namespace llmopt;

namespace {

template <size_t... I>
Repack repackOf(const std::array<uint64_t, sizeof...(I)> &numbers, std::index_sequence<I...>) {
  return Repack{numbers[I]...};
}

/// Both packings of one random matrix; one is made of the other in two launches.
void check(int bits, int64_t block, DType scale, bool zeros, int64_t outputs, int64_t inputs) {
  QuantizedPanels fragments{bits, block, scale, zeros, CodeOrder::Fragments}, words = fragments;
  words.order = CodeOrder::Words;
  std::mt19937 random(7);
  int largest = (1 << bits) - 1;
  std::vector<uint8_t> codes(size_t(outputs * inputs));
  for (uint8_t &code : codes)
    code = uint8_t(random() % unsigned(largest + 1));
  QuantizedMatrix matrix{.outputs = outputs, .inputs = inputs, .codes = codes.data(), .outputStride = inputs, .scales = {}, .zeros = {}};
  for (int64_t i = 0; i < outputs * fragments.blocks(inputs); ++i) {
    matrix.scales.push_back(float(random() % 1000 + 1) / 64);
    if (zeros)
      matrix.zeros.push_back(uint8_t(random() % unsigned(largest + 1)));
  }
  if (!zeros)
    matrix.zeros.push_back(uint8_t(largest / 2));
  std::vector<std::byte> stored(size_t(words.bytes(outputs, inputs))), wanted(size_t(fragments.bytes(outputs, inputs))), made(wanted.size(), std::byte(0xab));
  ASSERT_TRUE(packQuantized(words, matrix, stored).ok());
  ASSERT_TRUE(packQuantized(fragments, matrix, wanted).ok());
  RepackedWeight weight{"w", fragments, uint64_t(outputs), uint64_t(inputs), uint64_t(zeros ? 0 : matrix.zeros[0]), 0, 0};
  ASSERT_EQ(weight.bytes(), made.size());
  ASSERT_EQ(weight.wordBytes(), stored.size());
  uint64_t half = weight.panelCount() / 2;
  for (auto [first, count] : {std::pair<uint64_t, uint64_t>(0, half), {half, weight.panelCount() - half}}) {
    std::array numbers = repackNumbers(weight, first, count);
    Repack repack = repackOf(numbers, std::make_index_sequence<std::size(kRepackNumbers)>());
    llmopt_threads = 77; // several units each
    for (llmopt_thread = 0; llmopt_thread < llmopt_threads; ++llmopt_thread)
      repack.run(reinterpret_cast<const u8 *>(stored.data() + first * weight.wordPanelBytes()), reinterpret_cast<u8 *>(made.data() + first * weight.panelBytes()));
  }
  EXPECT_TRUE(made == wanted) << fragments.layout() << " " << outputs << " x " << inputs;
}

TEST(Repack, EveryLayoutByteForByte) {
  for (int bits : {4, 8})
    for (int64_t block : {0, 16, 32, 64, 128})
      for (DType scale : {DType::F32, DType::F16, DType::BF16})
        for (bool zeros : {false, true})
          for (auto [outputs, inputs] : {std::pair<int64_t, int64_t>(1, 1), {16, 64}, {37, 70}, {33, 200}, {48, 256}, {17, 515}})
            check(bits, block, scale, zeros, outputs, inputs);
}

TEST(Repack, LayoutsThatNoPackingHas) {
  for (const char *name : {"panel16", "panel16q4b-16f32", "panel16q4b24f32", "panel16q5b32f32", "panel16q4b32i8", "panel16x4", "panel16w4b32f32zz"})
    EXPECT_FALSE(QuantizedPanels::ofLayout(name)) << name;
  for (const char *name : {"panel16q4b32f32", "panel16w8b0bf16z", "panel16w4b128f16"})
    EXPECT_EQ(QuantizedPanels::ofLayout(name)->layout(), name);
}

} // namespace
