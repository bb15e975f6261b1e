//===- Topology.h - how many threads, and where -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CPU_TOPOLOGY_H
#define LLMOPT_RUNTIME_CPU_TOPOLOGY_H

#include <optional>
#include <string>
#include <vector>

namespace llmopt::cpu {

/// Processors this process may use, one of each core first, then their hyper-threads; as they were at the first call.
struct Processors {
  std::vector<int> ids;
  unsigned cores = 1; ///< the first `cores` of `ids` lie on different cores
};
const Processors &allowedProcessors();

/// Processors' worth of time the control groups grant, the tightest of all levels; nothing if unlimited.
/// `membership` is /proc/self/cgroup, `mount` is /sys/fs/cgroup (versions 1 and 2).
std::optional<double> cgroupQuota(const std::string &membership, const std::string &mount);

/// LLMOPT_NUM_THREADS, or one thread per allowed core within the quota.
unsigned defaultThreads();

/// "0-3,8" as the kernel prints lists of processors.
std::vector<int> parseCpuList(const std::string &text);

} // namespace llmopt::cpu

#endif // LLMOPT_RUNTIME_CPU_TOPOLOGY_H
