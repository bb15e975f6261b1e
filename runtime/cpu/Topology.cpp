//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cpu/Topology.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sched.h>
#include <set>
#include <sstream>

using namespace llmopt;

static std::optional<std::string> firstLine(const std::string &path) {
  std::ifstream in(path);
  std::string line;
  return std::getline(in, line) ? std::optional(line) : std::nullopt;
}

static std::optional<long> parseNumber(std::string_view text) {
  long value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::vector<int> cpu::parseCpuList(const std::string &text) {
  std::vector<int> ids;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    size_t dash = part.find('-');
    std::optional<long> first = parseNumber(part.substr(0, dash));
    std::optional<long> last = dash == part.npos ? first : parseNumber(part.substr(dash + 1));
    for (long id = first.value_or(0); first && last && id <= *last && id < 65536; ++id)
      ids.push_back(int(id));
  }
  return ids;
}

static std::vector<int> affinity() {
  // The mask may be longer than cpu_set_t on large machines.
  for (int size = 1024; size <= 65536; size *= 4) {
    std::unique_ptr<cpu_set_t, void (*)(cpu_set_t *)> set(CPU_ALLOC(size), [](cpu_set_t *s) { CPU_FREE(s); });
    size_t bytes = CPU_ALLOC_SIZE(size);
    if (!set || ::sched_getaffinity(0, bytes, set.get()) != 0)
      continue;
    std::vector<int> ids;
    for (int id = 0; id < size; ++id)
      if (CPU_ISSET_S(size_t(id), bytes, set.get()))
        ids.push_back(id);
    return ids;
  }
  return {};
}

static cpu::Processors findProcessors() {
  cpu::Processors result;
  std::vector<int> siblings;
  std::set<int> seenCores;
  for (int id : affinity()) {
    std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(id) + "/topology/thread_siblings_list";
    std::vector<int> core = cpu::parseCpuList(firstLine(path).value_or(""));
    bool first = seenCores.insert(core.empty() ? id : core.front()).second;
    (first ? result.ids : siblings).push_back(id);
  }
  result.cores = std::max<unsigned>(1, unsigned(result.ids.size()));
  result.ids.insert(result.ids.end(), siblings.begin(), siblings.end());
  return result;
}

const cpu::Processors &cpu::allowedProcessors() {
  // Once: a thread that binds itself to one processor must not make the process's look like one.
  static const Processors processors = findProcessors();
  return processors;
}

/// "max 100000" or "150000 100000".
static std::optional<double> quotaOfVersion2(const std::string &folder) {
  std::istringstream line(firstLine(folder + "/cpu.max").value_or("max"));
  std::string quota;
  double period = 100000;
  line >> quota >> period;
  std::optional<long> value = parseNumber(quota);
  return value && period > 0 ? std::optional(double(*value) / period) : std::nullopt;
}

static std::optional<double> quotaOfVersion1(const std::string &folder) {
  std::optional<long> quota = parseNumber(firstLine(folder + "/cpu.cfs_quota_us").value_or(""));
  std::optional<long> period = parseNumber(firstLine(folder + "/cpu.cfs_period_us").value_or(""));
  if (!quota || !period || *quota <= 0 || *period <= 0)
    return std::nullopt;
  return double(*quota) / double(*period);
}

static bool listsCpu(const std::string &controllers) {
  std::stringstream parts(controllers);
  for (std::string part; std::getline(parts, part, ',');)
    if (part == "cpu")
      return true;
  return false;
}

std::optional<double> cpu::cgroupQuota(const std::string &membership, const std::string &mount) {
  std::optional<double> least;
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) { // "hierarchy:controllers:path"
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos)
      continue;
    std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (!controllers.empty() && !listsCpu(controllers))
      continue;
    std::string root = controllers.empty() ? mount : mount + "/cpu";
    // A limit of any ancestor holds too. Inside a container the path may be the host's; then only the root exists.
    for (std::string at = path;; at.resize(at.rfind('/'))) {
      std::optional<double> quota = controllers.empty() ? quotaOfVersion2(root + at) : quotaOfVersion1(root + at);
      if (quota && (!least || *quota < *least))
        least = quota;
      if (at.empty() || at.rfind('/') == at.npos)
        break;
    }
  }
  return least;
}

unsigned cpu::defaultThreads() {
  if (const char *text = std::getenv("LLMOPT_NUM_THREADS"))
    if (std::optional<long> value = parseNumber(text); value && *value > 0 && *value <= 1024)
      return unsigned(*value);
  unsigned threads = allowedProcessors().cores;
  if (std::optional<double> quota = cgroupQuota("/proc/self/cgroup", "/sys/fs/cgroup"))
    threads = std::min(threads, std::max(1u, unsigned(*quota)));
  return threads;
}
