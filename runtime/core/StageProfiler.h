//===- StageProfiler.h - where the time of an entry point goes --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_STAGEPROFILER_H
#define LLMOPT_RUNTIME_CORE_STAGEPROFILER_H

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Artifact/Plan.h"

#include <optional>

namespace llmopt {

/// Time spent in a stage with one of its kernels since profiling began.
struct StageTime {
  uint64_t nanoseconds = 0, calls = 0;
  double flops = 0, bytesMoved = 0;
};

/// One thread's work on a stage; times of the steady clock.
struct TimedLaunch {
  uint32_t stage;
  int64_t begin, end;
};

/// What a stage does in one call.
struct StageCost {
  double flops = 0, bytesMoved = 0;
};

class StageProfiler {
public:
  StageProfiler(const plan::Plan &plan, const plan::Entry &entry);
  void start(unsigned threads);
  void stop();
  bool on() const { return !launches_.empty(); }

  static int64_t now();
  /// Of a stage with these values of the entry's expressions, in this step.
  StageCost cost(uint32_t stage, std::span<const int64_t> values, const StepTable &table) const;
  /// One thread's part of a launch; the first million of each thread are kept. Each thread calls it for itself.
  void addLaunch(unsigned part, const TimedLaunch &launch);
  /// A whole stage, from when the first thread could begin to when all were done.
  void addTime(uint32_t stage, size_t variant, std::span<const int64_t> values, const StepTable &table, int64_t nanoseconds);

  const StageTime &time(uint32_t stage, size_t variant) const { return times_[firstTime_[stage] + variant]; }
  /// In order, by thread.
  std::span<const std::vector<TimedLaunch>> launches() const { return launches_; }

private:
  /// Attention over a cache: what the plan says is the cost of one key, and the step table has how many there are.
  struct CacheReader {
    double bytesPerToken = 0; ///< of keys and values
    uint8_t group = 0;        ///< of the state
  };
  const plan::Entry &entry_;
  std::vector<std::optional<CacheReader>> readers_; ///< of each stage
  std::vector<StageTime> times_;                    ///< of all stages' variants
  std::vector<size_t> firstTime_;                   ///< of each stage in `times_`
  std::vector<std::vector<TimedLaunch>> launches_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_STAGEPROFILER_H
