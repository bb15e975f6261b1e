//===- BenchMachine.cpp - the limits of this machine ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "llmopt/runtime/MachineLimits.h"

#include <cstdio>
#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

static std::string sizeText(uint64_t bytes) {
  return bytes % (1 << 20) == 0 ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes >> 10) + " KiB";
}

static void printLimits(const MachineLimits &limits) {
  std::printf("%s: %s\n\n| arithmetic | threads | Gop/s |\n| --- | ---: | ---: |\n", limits.host.c_str(), limits.processor.c_str());
  for (const MachineLimits::Arithmetic &row : limits.arithmetic)
    std::printf("| %s, %s | %u | %.1f |\n", row.format.c_str(), row.instruction.c_str(), row.threads, row.operationsPerSecond * 1e-9);
  std::printf("\n| reading | threads | streams | GB/s |\n| --- | ---: | ---: | ---: |\n");
  for (const MachineLimits::Reading &row : limits.reading)
    std::printf("| %s | %u | %u | %.1f |\n", sizeText(row.bytes).c_str(), row.threads, row.streams, row.bytesPerSecond * 1e-9);
  std::printf("\n| cache | size | processors |\n| --- | ---: | ---: |\n");
  for (const MachineLimits::Cache &row : limits.caches)
    std::printf("| level %u, %s | %s | %u |\n", row.level, row.kind.c_str(), sizeText(row.bytes).c_str(), row.sharedBy);
  for (const MachineLimits::Barrier &row : limits.barriers)
    std::printf("\nA barrier of %u threads takes %.0f ns.\n", row.threads, row.seconds * 1e9);
}

Status tools::benchMachine(const MachineOptions &options) {
  auto progress = [](const std::string &what) { std::fprintf(stderr, "measuring %s\n", what.c_str()); };
  LLMOPT_ASSIGN(MachineLimits limits, measureMachine(options.threads, progress));
  if (options.format == "json")
    std::cout << limits.json().str(1) << '\n';
  else
    printLimits(limits);
  std::string path = options.file.empty() ? machineLimitsPath() : options.file;
  LLMOPT_RETURN_IF_ERROR(storeMachineLimits(limits, path));
  std::fprintf(stderr, "wrote %s\n", path.c_str());
  return {};
}
