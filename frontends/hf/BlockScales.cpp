//===- BlockScales.cpp - weights of 4 bits with a scale a block -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "BlockScales.h"

#include <array>
#include <cmath>

using namespace llmopt;

StoredWeight hf::decodeMxfp4(const StoredWeight &blocks, const StoredWeight &scales) {
  constexpr float kMagnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  constexpr int kBias = 127, kScales = 256, kNaN = 255;
  std::vector<std::array<uint16_t, 16>> codes(kScales); // bf16 of each code under each scale
  for (int scale = 0; scale < kScales; ++scale)
    for (int code = 0; code < 16; ++code)
      codes[size_t(scale)][size_t(code)] = floatToBf16(scale == kNaN ? NAN : std::ldexp(code & 8 ? -kMagnitudes[code & 7] : kMagnitudes[code & 7], scale - kBias));
  auto values = std::make_shared<std::vector<uint16_t>>(blocks.bytes.size() * 2);
  for (size_t block = 0; block < scales.bytes.size(); ++block) {
    const std::array<uint16_t, 16> &own = codes[size_t(scales.bytes[block])];
    for (size_t i = block * kMxBlock / 2; i < (block + 1) * kMxBlock / 2; ++i) {
      (*values)[2 * i] = own[size_t(blocks.bytes[i]) & 15];
      (*values)[2 * i + 1] = own[size_t(blocks.bytes[i]) >> 4];
    }
  }
  std::vector<int64_t> shape = scales.shape;
  shape.back() *= kMxBlock;
  StoredWeight weight{DType::BF16, std::move(shape), std::as_bytes(std::span(*values)), nullptr};
  weight.keeper = std::move(values);
  return weight;
}
