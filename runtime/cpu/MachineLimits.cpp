//===- MachineLimits.cpp - measuring --------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Always the best of several rounds: a limit is what the machine can do when nothing disturbs it.
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/MachineLimits.h"

#include "llmopt/lib/Target/Target.h"
#include "runtime/cpu/MachineLoops.h"
#include "runtime/cpu/ThreadTeam.h"
#include "runtime/cpu/Topology.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <unistd.h>

using namespace llmopt;

namespace {

constexpr int kRounds = 9;
constexpr unsigned kStreams[] = {1, 2, 4, 8};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Seconds of the fastest round of `work(part)` on all parts, after one that does not count.
template <typename Work>
double fastest(unsigned threads, Work work) {
  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  turn.run(work);
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    double begin = now();
    turn.run(work);
    best = std::min(best, now() - begin);
  }
  return best;
}

std::string firstLine(const std::string &path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<MachineLimits::Cache> findCaches() {
  std::vector<MachineLimits::Cache> caches;
  std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu::allowedProcessors().ids.front()) + "/cache/index";
  for (int index = 0;; ++index) {
    std::string base = folder + std::to_string(index) + "/", size = firstLine(base + "size");
    if (size.empty())
      return caches;
    uint64_t bytes = std::strtoull(size.c_str(), nullptr, 10) << (size.back() == 'K' ? 10 : size.back() == 'M' ? 20 : 0);
    unsigned level = unsigned(std::strtoul(firstLine(base + "level").c_str(), nullptr, 10));
    size_t sharedBy = cpu::parseCpuList(firstLine(base + "shared_cpu_list")).size();
    caches.push_back({level, firstLine(base + "type"), bytes, unsigned(std::max<size_t>(1, sharedBy))});
  }
}

/// One footprint in the second-level cache of each thread, one in the last, and one that no cache holds.
std::vector<uint64_t> footprints(const std::vector<MachineLimits::Cache> &caches, unsigned threads) {
  uint64_t second = 512 << 10, last = 16 << 20;
  for (const MachineLimits::Cache &cache : caches) {
    if (cache.level == 2)
      second = cache.bytes;
    if (cache.level >= 2)
      last = std::max(last, cache.bytes);
  }
  uint64_t granule = uint64_t(cpu::readGranule) * threads;
  std::vector<uint64_t> bytes = {second / 2 * threads, std::max(last / 2, second * threads), std::max<uint64_t>(8 * last, 256 << 20)};
  for (uint64_t &size : bytes)
    size = size / granule * granule;
  return bytes;
}

void measureReading(MachineLimits &limits, unsigned threads) {
  for (uint64_t bytes : footprints(limits.caches, threads)) {
    std::unique_ptr<void, void (*)(void *)> memory(cpu::allocateHuge(bytes), std::free);
    uint64_t part = bytes / threads, repeats = std::max<uint64_t>(1, (uint64_t(64) << 20) / bytes);
    for (unsigned streams : kStreams) {
      auto seconds = [&](bool ahead) {
        return fastest(threads, [&](unsigned index) {
          for (uint64_t i = 0; i < repeats; ++i)
            cpu::readStreams(static_cast<const char *>(memory.get()) + index * part, part, streams, ahead);
        });
      };
      limits.reading.push_back({threads, streams, bytes, double(bytes * repeats) / std::min(seconds(false), seconds(true))});
    }
  }
}

/// Keeps all threads busy until the host of a virtual machine has given each its own core: for the first tenths of a second two may share one.
void awaken(unsigned threads) {
  constexpr double kSeconds = 0.5;
  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  double begin = now();
  auto work = [&](unsigned) {
    while (now() - begin < kSeconds)
      cpu::arithmeticLoops()[0].run(1000);
  };
  turn.run(work);
}

void measureArithmetic(MachineLimits &limits, unsigned threads) {
  for (const cpu::ArithmeticLoop &loop : cpu::arithmeticLoops()) {
    std::vector<std::string> features(loop.features.begin(), loop.features.end());
    if (!missingFeatures(features).empty())
      continue;
    constexpr int64_t kSteps = 400'000;
    double seconds = fastest(threads, [&](unsigned) { loop.run(kSteps); });
    limits.arithmetic.push_back({std::string(loop.format), std::string(loop.instruction), threads,
                                 double(loop.operationsPerStep * kSteps) * threads / seconds});
  }
}

void measureBarrier(MachineLimits &limits, unsigned threads) {
  constexpr int kBarriers = 20'000;
  double seconds = fastest(threads, [&](unsigned) {
    for (int i = 0; i < kBarriers; ++i)
      cpu::ThreadTeam::process().barrier();
  });
  limits.barriers.push_back({threads, seconds / kBarriers});
}

} // namespace

std::string llmopt::processorName() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name") && line.find(": ") != line.npos)
      return line.substr(line.find(": ") + 2);
  return "unknown";
}

Result<MachineLimits> llmopt::measureMachine(unsigned mostThreads, const std::function<void(const std::string &)> &progress) {
  MachineLimits limits;
  char host[256] = "unknown";
  ::gethostname(host, sizeof host - 1);
  limits.host = host;
  limits.processor = processorName();
  limits.caches = findCaches();
  cpu::ThreadTeam::pinCaller();
  if (mostThreads == 0)
    mostThreads = cpu::allowedProcessors().cores;
  for (unsigned threads = 1; threads <= mostThreads; ++threads) {
    std::string count = " with " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
    progress("arithmetic" + count);
    awaken(threads);
    measureArithmetic(limits, threads);
    progress("reading" + count);
    measureReading(limits, threads);
    if (threads > 1)
      measureBarrier(limits, threads);
  }
  return limits;
}
