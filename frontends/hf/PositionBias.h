//===- PositionBias.h - what distance adds to a score -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_POSITIONBIAS_H
#define LLMOPT_FRONTENDS_HF_POSITIONBIAS_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/WeightStore.h"

namespace llmopt::hf {

/// ALiBi's slope of each head (Press et al., arXiv:2108.12409). `order` "bloom" or "mpt" decides where a number of heads
/// that is no power of two takes its slopes from.
std::vector<float> alibiSlopes(int64_t heads, double maxBias, const std::string &order);

/// T5's bucket of a distance (key position minus query position).
int64_t relativeBucket(int64_t distance, int64_t buckets, int64_t maxDistance, bool bidirectional);

/// The bias of every distance from -(L - 1) to L - 1 as f32 [heads, 2L - 1], out of a table [buckets, heads] of any float
/// type. L is the distance from which on all share the last bucket, plus one, so clamped distances lose nothing.
Result<StoredWeight> relativeBias(const StoredWeight &table, int64_t maxDistance, bool bidirectional);

/// For attention to both sides: a bias f32 [heads, 2 * window + 1] that leaves tokens less than `window` away alone, and hides all others.
StoredWeight windowBias(int64_t heads, int64_t window);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_POSITIONBIAS_H
