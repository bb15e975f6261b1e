//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "kernelsFloors.h"

#include "runtime/cpu/MachineLoops.h"

#include <algorithm>
#include <ctime>

using namespace llmopt;

double test::seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

double test::peakOperations(std::string_view format, const Target &target) {
  auto mayUse = [&](std::string_view feature) { return feature == "sse2" || std::ranges::find(target.features, feature) != target.features.end(); };
  double best = 0;
  for (const cpu::ArithmeticLoop &loop : cpu::arithmeticLoops()) {
    std::vector<std::string> features(loop.features.begin(), loop.features.end());
    if (loop.format != format || !std::ranges::all_of(features, mayUse) || !missingFeatures(features).empty())
      continue;
    constexpr int64_t kSteps = 200'000;
    double begin = seconds();
    loop.run(kSteps);
    best = std::max(best, double(loop.operationsPerStep * kSteps) / (seconds() - begin));
  }
  return best;
}

double test::readRate(const void *data, size_t bytes) {
  double best = 0;
  bytes = bytes / cpu::readGranule * cpu::readGranule;
  for (unsigned streams : {1u, 4u})
    for (bool ahead : {false, true}) {
      double begin = seconds();
      cpu::readStreams(data, bytes, streams, ahead);
      best = std::max(best, double(bytes) / (seconds() - begin));
    }
  return best;
}
