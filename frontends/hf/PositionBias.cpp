//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "PositionBias.h"

#include <algorithm>
#include <bit>
#include <cmath>

using namespace llmopt;
using namespace llmopt::hf;

/// The slopes of a power-of-two number of heads: a geometric row that ends at 2^-maxBias.
static std::vector<double> powerOfTwoSlopes(int64_t heads, double maxBias) {
  std::vector<double> slopes;
  for (int64_t head = 1; head <= heads; ++head)
    slopes.push_back(std::exp2(-maxBias * double(head) / double(heads)));
  return slopes;
}

std::vector<float> hf::alibiSlopes(int64_t heads, double maxBias, const std::string &order) {
  int64_t below = int64_t(std::bit_floor(uint64_t(heads)));
  if (below == heads) {
    std::vector<double> slopes = powerOfTwoSlopes(heads, maxBias);
    return {slopes.begin(), slopes.end()};
  }
  // Twice as fine a row fills the gap: Bloom appends its odd entries, MPT puts them first.
  std::vector<double> coarse = powerOfTwoSlopes(below, maxBias), fine = powerOfTwoSlopes(2 * below, maxBias);
  std::vector<float> slopes;
  if (order == "bloom")
    slopes.assign(coarse.begin(), coarse.end());
  else
    for (size_t i = 1; i < fine.size(); i += 2)
      slopes.push_back(float(fine[i]));
  for (size_t i = 0; i < fine.size(); i += 2)
    slopes.push_back(float(fine[i]));
  slopes.resize(size_t(heads));
  return slopes;
}

int64_t hf::relativeBucket(int64_t distance, int64_t buckets, int64_t maxDistance, bool bidirectional) {
  int64_t first = 0;
  if (bidirectional) {
    buckets /= 2;
    first = distance > 0 ? buckets : 0;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(-distance, 0);
  }
  int64_t exact = buckets / 2;
  if (distance < exact)
    return first + distance;
  // In f32, as the model was trained: where the logarithm meets a whole number, rounding decides the bucket.
  float ratio = std::log(float(distance) / float(exact)) / float(std::log(double(maxDistance) / double(exact)));
  int64_t bucket = exact + int64_t(ratio * float(buckets - exact));
  return first + std::min(bucket, buckets - 1);
}

static float elementOf(const StoredWeight &weight, int64_t index) {
  const std::byte *at = weight.bytes.data() + size_t(index) * dtypeSize(weight.dtype);
  uint16_t half;
  float single;
  double wide;
  switch (weight.dtype) {
  case DType::BF16: std::memcpy(&half, at, 2); return bf16ToFloat(half);
  case DType::F16: std::memcpy(&half, at, 2); return f16ToFloat(half);
  case DType::F64: std::memcpy(&wide, at, 8); return float(wide);
  default: std::memcpy(&single, at, 4); return single;
  }
}

Result<StoredWeight> hf::relativeBias(const StoredWeight &table, int64_t maxDistance, bool bidirectional) {
  int64_t buckets = table.shape.at(0), heads = table.shape.at(1);
  if (!isFloat(table.dtype))
    return badInput("E0412", "the table of relative positions must be of a float type");
  if (buckets < 4 || maxDistance <= buckets / 2)
    return badInput("E0412", "relative positions need at least 4 buckets and a largest distance over half their number");
  int64_t limit = maxDistance + 1, width = 2 * limit - 1;
  auto values = std::make_shared<std::vector<float>>(size_t(heads * width));
  for (int64_t column = 0; column < width; ++column) {
    int64_t bucket = relativeBucket(column - (limit - 1), buckets, maxDistance, bidirectional);
    for (int64_t head = 0; head < heads; ++head)
      (*values)[size_t(head * width + column)] = elementOf(table, bucket * heads + head);
  }
  StoredWeight bias{DType::F32, {heads, width}, std::as_bytes(std::span(*values)), nullptr};
  bias.keeper = std::move(values);
  return bias;
}

StoredWeight hf::windowBias(int64_t heads, int64_t window) {
  constexpr float kUnseen = -1e30f; // finite: a tile of tokens none of which is seen has a largest score, too
  int64_t width = 2 * window + 1;
  auto values = std::make_shared<std::vector<float>>(size_t(heads * width), 0.0f);
  for (int64_t head = 0; head < heads; ++head)
    (*values)[size_t(head * width)] = (*values)[size_t(head * width + width - 1)] = kUnseen;
  StoredWeight bias{DType::F32, {heads, width}, std::as_bytes(std::span(*values)), nullptr};
  bias.keeper = std::move(values);
  return bias;
}
