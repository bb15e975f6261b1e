//===- MachineLoops.h - loops that nothing but the machine limits *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CPU_MACHINELOOPS_H
#define LLMOPT_RUNTIME_CPU_MACHINELOOPS_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace llmopt::cpu {

/// Chains of one instruction on registers, as many as hide its latency.
struct ArithmeticLoop {
  std::string_view format, instruction;
  std::vector<std::string_view> features; ///< as /proc/cpuinfo names them
  int64_t operationsPerStep;
  void (*run)(int64_t steps);
};
std::span<const ArithmeticLoop> arithmeticLoops();

/// Reads [data, data + bytes) once, window by window of a MiB, each cut into `streams` (1, 2, 4, 8) that are read side by
/// side. `bytes` is a multiple of readGranule. `ahead`: each stream prefetches what lies 2 KiB ahead, without which some processors leave memory idle.
inline constexpr size_t readGranule = 16 << 10;
void readStreams(const void *data, size_t bytes, unsigned streams, bool ahead);

/// Memory on huge pages where the system gives them, filled; freed with std::free.
void *allocateHuge(size_t bytes);

} // namespace llmopt::cpu

#endif // LLMOPT_RUNTIME_CPU_MACHINELOOPS_H
