//===- Target.h - what --target knows ---------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_TARGET_TARGET_H
#define LLMOPT_LIB_TARGET_TARGET_H

#include "llmopt/lib/Support/Status.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

/// One row of the target table: facts about a machine, from which strategies follow.
struct Target {
  std::string name;                  ///< "x86-64-v3"
  std::string cpu;                   ///< LLVM's -mcpu for scheduling and features: "x86-64-v3", "znver4"
  std::vector<std::string> features; ///< what the machine must have, as /proc/cpuinfo names it
  int vectorBits = 128;              ///< native vector register width
  int vectorRegisters = 16;
  bool fma = false;
  bool bf16Dot = false;              ///< vdpbf16ps
  bool int8Dot = false;              ///< vpdpbusd on full vectors
  bool amx = false;                  ///< tile registers, with products of bf16 and of bytes
  int l1Bytes = 32 << 10, l2Bytes = 512 << 10, l3Bytes = 16 << 20;
  bool sharedCacheIsFast = true;     ///< a core reads the third-level cache faster than memory; false: threads do better not to read the same there
  bool prefetchersSuffice = true;    ///< for streams of weights that a few rows are multiplied with; false: loops prefetch 2 KiB ahead
  bool portsBesideProducts = true;   ///< additions, maxima and permutations have ports that multiply-adds do not use; false: all take the same ones

  int computeCapability = 0;         ///< 90 for sm_90; 0: a CPU
  std::string gpuArchitecture = {};  ///< what ptxas compiles for: "sm_90a"
  int sharedMemoryBytes = 0;         ///< most dynamic shared memory of one block

  bool isGpu() const { return computeCapability != 0; }
};

/// "x86-64" (portable baseline), "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16", "x86-64-v4-amx", "native" (resolved to the best CPU row this machine runs);
/// "sm_80" ... "sm_100".
Result<Target> findTarget(std::string_view name);
/// CPUs first, in each kind the better machine last.
std::span<const Target> allTargets();

/// Features of this machine's CPU, as /proc/cpuinfo names them; LLMOPT_CPU=<target> restricts them to that row's.
std::vector<std::string> hostFeatures();
/// Features the target needs and this machine lacks. Asks the operating system for tile registers where they are needed (Linux: ARCH_REQ_XCOMP_PERM, for all threads of
/// the process, whose alternate signal stacks must have room for them from then on).
std::vector<std::string> missingFeatures(std::span<const std::string> needed);

} // namespace llmopt

#endif // LLMOPT_LIB_TARGET_TARGET_H
