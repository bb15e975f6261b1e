//===- MachineLimits.h - what this machine can do at most -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Measured once (llmopt-bench machine) and kept in a file of this host, so that other programs can say which share of the
// limit something reaches.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_MACHINELIMITS_H
#define LLMOPT_RUNTIME_MACHINELIMITS_H

#include "llmopt/lib/Support/Json.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace llmopt {

struct MachineLimits {
  /// `threads` pinned threads, each reading its part of `bytes` as `streams` parallel streams.
  struct Reading {
    unsigned threads = 1, streams = 1;
    uint64_t bytes = 0;
    double bytesPerSecond = 0;
  };
  /// Independent chains of one instruction on registers; multiplications and additions count as one operation each.
  struct Arithmetic {
    std::string format, instruction; ///< "bf16", "vdpbf16ps zmm"
    unsigned threads = 1;
    double operationsPerSecond = 0;
  };
  struct Barrier {
    unsigned threads = 2;
    double seconds = 0;
  };
  struct Cache {
    unsigned level = 1;
    std::string kind; ///< "Data", "Instruction", "Unified"
    uint64_t bytes = 0;
    unsigned sharedBy = 1; ///< processors
  };
  std::string host, processor;
  std::vector<Cache> caches = {};
  std::vector<Reading> reading = {};
  std::vector<Arithmetic> arithmetic = {};
  std::vector<Barrier> barriers = {};

  /// The best rate of reading what no cache holds, and of arithmetic in a format ("f32", "bf16", "i8"), with the most
  /// threads that were measured up to this number; 0 if there is none.
  double readLimit(unsigned threads) const;
  double arithmeticLimit(std::string_view format, unsigned threads) const;

  Json json() const;
  static Result<MachineLimits> fromJson(const Json &json, std::string_view context);
};

/// As /proc/cpuinfo names it.
std::string processorName();

/// With 1 to `mostThreads` threads (0: the cores this process may use); takes some seconds for each on an otherwise idle
/// machine. `progress` is told what comes next.
Result<MachineLimits> measureMachine(unsigned mostThreads, const std::function<void(const std::string &)> &progress);

/// LLMOPT_MACHINE_FILE, or machine-<host>.json in the user's cache folder for llmopt.
std::string machineLimitsPath();
/// E0101 when this host was not measured yet.
Result<MachineLimits> loadMachineLimits(const std::string &path);
Status storeMachineLimits(const MachineLimits &limits, const std::string &path);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_MACHINELIMITS_H
