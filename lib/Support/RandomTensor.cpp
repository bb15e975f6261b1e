//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/RandomTensor.h"

#include <cstring>

using namespace llmopt;

static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

/// The splitmix64 generator's output at one state.
static uint64_t mix(uint64_t state) {
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
  state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
  return state ^ (state >> 31);
}

/// FNV-1a.
static uint64_t hashOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : name)
    hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

static float draw(uint64_t state, float center) {
  constexpr float kWidth = 0.02f * 3.4641016f; // a uniform distribution of width w deviates by w / sqrt(12)
  float share = float(int32_t(mix(state) >> 40)) * 0x1p-24f;
  return center + (share - 0.5f) * kWidth;
}

RandomTensor RandomTensor::ofWeight(uint64_t seed, std::string_view name, std::span<const int64_t> shape, DType dtype) {
  return {hashOf(name) ^ mix(seed), shape.size() == 1 && name.ends_with("weight") ? 1.0f : 0.0f, dtype};
}

float RandomTensor::at(uint64_t i) const {
  float value = draw(state + (i + 1) * kStep, center);
  return dtype == DType::F32 ? value : dtype == DType::BF16 ? bf16ToFloat(floatToBf16(value)) : f16ToFloat(floatToF16(value));
}

void RandomTensor::fill(std::span<std::byte> bytes) const {
  size_t size = dtypeSize(dtype);
  uint64_t place = state;
  for (size_t offset = 0; offset + size <= bytes.size(); offset += size) {
    float value = draw(place += kStep, center);
    uint16_t half = dtype == DType::BF16 ? floatToBf16(value) : dtype == DType::F16 ? floatToF16(value) : 0;
    std::memcpy(bytes.data() + offset, dtype == DType::F32 ? static_cast<const void *>(&value) : &half, size);
  }
}
