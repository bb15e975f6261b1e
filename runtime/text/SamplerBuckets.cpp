//===- SamplerBuckets.cpp - draws from a whole vocabulary -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tokens are thought of as sorted, best first, lowest id among equals. Sorting a vocabulary takes longer than many a model's step, so they are dealt to buckets by
// their distance from the best, and only those are sorted in which something ends: top-p, min-p, the draw.
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

using namespace llmopt;

namespace {

constexpr uint16_t kNoBucket = 0xffff;
constexpr double kFarthest = 128; ///< what is e^-128 as probable as the best, or less, shares the last bucket

/// Tokens of buckets before `bucket`, and the first `count` in it.
struct Cut {
  size_t bucket;
  size_t count;
};

class Buckets {
public:
  Buckets(std::span<const float> logits, float greatest, double temperature, std::vector<uint16_t> &buckets, std::vector<double> &masses)
      : logits_(logits), greatest_(greatest), temperature_(temperature), buckets_(buckets), masses_(masses) {
    float least = greatest;
    for (float logit : logits)
      if (logit > -INFINITY && logit < least)
        least = logit;
    masses_.assign(std::clamp<size_t>(std::bit_ceil(logits.size() / 16), 64, 4096), 0);
    double range = std::min(-exponent(least), kFarthest);
    perExponent_ = range > 0 ? double(masses_.size()) / range : 0;
    buckets_.resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      buckets_[i] = kNoBucket;
      if (logits[i] > -INFINITY) { // false for NaN
        double x = exponent(logits[i]);
        buckets_[i] = bucketOf(x);
        masses_[buckets_[i]] += std::exp(x);
      }
    }
  }

  /// The first tokens that have `share` of the mass, one at least.
  Cut whereMassReaches(double share) {
    double sum = 0, before = 0;
    for (double mass : masses_)
      sum += mass;
    double goal = share * sum;
    for (size_t bucket = 0; bucket < masses_.size(); ++bucket) {
      if (before + masses_[bucket] >= goal && masses_[bucket] > 0) {
        size_t count = 0;
        for (int32_t id : sorted(bucket)) {
          if (count > 0 && before >= goal)
            return {bucket, count};
          before += weight(id);
          ++count;
        }
        return {bucket, count};
      }
      before += masses_[bucket];
    }
    return all();
  }
  /// Tokens that weigh at least `least` times what the best does, which weighs 1.
  Cut whereWeightsFallBelow(double least) {
    size_t bucket = bucketOf(std::log(least)), count = 0;
    for (int32_t id : sorted(bucket))
      count += weight(id) >= least;
    return {bucket, count};
  }
  Cut all() const { return {masses_.size(), 0}; }

  /// Of the tokens that are kept, the one at `point` of their mass.
  int32_t at(double point, const Cut &kept) {
    double sum = 0;
    for (size_t bucket = 0; bucket < kept.bucket; ++bucket)
      sum += masses_[bucket];
    if (kept.count)
      for (int32_t id : sorted(kept.bucket).first(kept.count))
        sum += weight(id);
    point *= sum;
    size_t last = 0; // bucket of those with tokens
    for (size_t bucket = 0; bucket < kept.bucket; ++bucket)
      if (masses_[bucket] > 0) {
        last = bucket;
        if (point < masses_[bucket])
          return inBucket(bucket, point, SIZE_MAX);
        point -= masses_[bucket];
      }
    return kept.count ? inBucket(kept.bucket, point, kept.count) : inBucket(last, point, SIZE_MAX);
  }

private:
  double exponent(float logit) const { return (double(logit) - greatest_) / temperature_; }
  double weight(int32_t id) const { return std::exp(exponent(logits_[size_t(id)])); }
  uint16_t bucketOf(double exponent) const { return uint16_t(std::min(-exponent * perExponent_, double(masses_.size() - 1))); }

  std::span<const int32_t> sorted(size_t bucket) {
    if (bucket != sortedBucket_) {
      sorted_.clear();
      for (size_t i = 0; i < buckets_.size(); ++i)
        if (buckets_[i] == bucket)
          sorted_.push_back(int32_t(i));
      std::sort(sorted_.begin(), sorted_.end(), [&](int32_t a, int32_t b) {
        float x = logits_[size_t(a)], y = logits_[size_t(b)];
        return x != y ? x > y : a < b;
      });
      sortedBucket_ = bucket;
    }
    return sorted_;
  }
  int32_t inBucket(size_t bucket, double point, size_t most) {
    std::span<const int32_t> ids = sorted(bucket);
    ids = ids.first(std::min(most, ids.size()));
    for (int32_t id : ids)
      if ((point -= weight(id)) < 0)
        return id;
    return ids.back();
  }

  std::span<const float> logits_;
  double greatest_, temperature_, perExponent_ = 0; ///< buckets for a factor of e
  std::vector<uint16_t> &buckets_;
  std::vector<double> &masses_;
  std::vector<int32_t> sorted_;
  size_t sortedBucket_ = SIZE_MAX;
};

} // namespace

int32_t Sampler::drawFromAll(std::span<const float> logits, float greatest, double point) {
  Buckets buckets(logits, greatest, options_.temperature, buckets_, masses_);
  Cut kept = options_.topP < 1 ? buckets.whereMassReaches(options_.topP) : buckets.all();
  if (options_.minP > 0) {
    Cut common = buckets.whereWeightsFallBelow(options_.minP);
    if (common.bucket < kept.bucket || (common.bucket == kept.bucket && common.count < kept.count))
      kept = common;
  }
  return buckets.at(point, kept);
}
