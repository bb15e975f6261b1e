//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/ArenaPlacement.h"

#include <algorithm>
#include <numeric>

using namespace llmopt;

static constexpr uint64_t kAlignment = 64;

static uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t llmopt::placeBuffers(std::vector<ArenaRequest> &requests) {
  std::vector<uint32_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return requests[a].bytes != requests[b].bytes ? requests[a].bytes > requests[b].bytes : a < b;
  });

  uint64_t total = 0;
  std::vector<const ArenaRequest *> placed; // by offset
  for (uint32_t index : order) {
    ArenaRequest &request = requests[index];
    uint64_t offset = 0;
    for (const ArenaRequest *other : placed) {
      if (other->last < request.first || request.last < other->first)
        continue;
      if (offset + request.bytes <= other->offset)
        break; // fits into the gap before it
      offset = std::max(offset, aligned(other->offset + other->bytes));
    }
    request.offset = offset;
    total = std::max(total, offset + request.bytes);
    auto byOffset = [](const ArenaRequest *a, const ArenaRequest *b) { return a->offset < b->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &request, byOffset), &request);
  }
  return aligned(total);
}
