//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/StageProfiler.h"

#include <chrono>

using namespace llmopt;

StageProfiler::StageProfiler(const plan::Plan &plan, const plan::Entry &entry) : entry_(entry) {
  size_t count = 0;
  for (const plan::Stage &stage : entry.stages) {
    std::optional<CacheReader> &reader = readers_.emplace_back();
    for (uint32_t binding : stage.bindings)
      if (const plan::Buffer &buffer = entry.buffers[binding]; buffer.kind == plan::BufferKind::State && stage.family == "paged_attention") {
        const plan::State &state = plan.states[buffer.index];
        reader = {double(state.blockBytes) / double(kCacheBlockTokens), state.group};
      }
    firstTime_.push_back(count);
    count += stage.variants.size();
  }
  times_.resize(count);
}

void StageProfiler::start(unsigned threads) {
  constexpr size_t kFirstLaunches = 1 << 12;
  stop();
  launches_.resize(threads);
  for (std::vector<TimedLaunch> &list : launches_)
    list.reserve(kFirstLaunches);
}

void StageProfiler::stop() {
  times_.assign(times_.size(), {});
  launches_.clear();
}

int64_t StageProfiler::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void StageProfiler::addLaunch(unsigned part, const TimedLaunch &launch) {
  constexpr size_t kMostLaunches = 1'000'000;
  if (part < launches_.size() && launches_[part].size() < kMostLaunches)
    launches_[part].push_back(launch);
}

StageCost StageProfiler::cost(uint32_t index, std::span<const int64_t> values, const StepTable &table) const {
  const plan::Stage &stage = entry_.stages[index];
  StageCost cost{double(values[stage.flops]), double(values[stage.bytesMoved])};
  if (const std::optional<CacheReader> &reader = readers_[index]; reader && table.tokens) {
    double keys = 0; // summed over the tokens; under a window they see fewer
    for (const SequenceRow &row : std::span(table.rows[reader->group], table.sequences)) {
      double hidden = reader->group == 0 ? double(row.count - 1) / 2 : 0; // of a sequence's own later tokens, on average
      keys += double(row.count) * (double(row.length) - hidden);
      cost.bytesMoved += reader->bytesPerToken * double(row.length);
    }
    cost.flops *= keys / double(table.tokens);
  }
  return cost;
}

void StageProfiler::addTime(uint32_t index, size_t variant, std::span<const int64_t> values, const StepTable &table, int64_t nanoseconds) {
  StageCost cost = this->cost(index, values, table);
  StageTime &time = times_[firstTime_[index] + variant];
  time.nanoseconds += uint64_t(nanoseconds);
  ++time.calls;
  time.flops += cost.flops;
  time.bytesMoved += cost.bytesMoved;
}
