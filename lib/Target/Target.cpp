//===- Target.cpp - the target table --------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Target/Target.h"

#include <algorithm>
#include <cstdlib>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace llmopt;

namespace {

/// `sharedKiB`: what one block may ask for, after NVIDIA's table of compute capabilities.
Target gpu(std::string name, int capability, std::string architecture, int sharedKiB) {
  Target row{.name = name, .cpu = architecture, .features = {"cuda", name}};
  row.vectorBits = 32; // one lane a thread
  row.fma = true;
  row.computeCapability = capability;
  row.gpuArchitecture = std::move(architecture);
  row.sharedMemoryBytes = sharedKiB << 10;
  return row;
}

const std::vector<Target> &table() {
  static const std::vector<Target> rows = {
      {.name = "x86-64", .cpu = "x86-64", .features = {"sse2"}, .vectorBits = 128, .vectorRegisters = 16},
      {.name = "x86-64-v3",
       .cpu = "x86-64-v3",
       .features = {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"},
       .vectorBits = 256,
       .vectorRegisters = 16,
       .fma = true},
      {.name = "x86-64-v4",
       .cpu = "x86-64-v4",
       .features = {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
       .vectorBits = 512,
       .vectorRegisters = 32,
       .fma = true,
       .l2Bytes = 1 << 20,
       .l3Bytes = 32 << 20},
      // Zen 4 and Sapphire Rapids on.
      {.name = "x86-64-v4-bf16",
       .cpu = "x86-64-v4",
       .features = {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl",
                    "avx512_bf16", "avx512_vnni"},
       .vectorBits = 512,
       .vectorRegisters = 32,
       .fma = true,
       .bf16Dot = true,
       .int8Dot = true,
       .l2Bytes = 1 << 20,
       .l3Bytes = 32 << 20},
      // Sapphire Rapids and later.
      {.name = "x86-64-v4-amx",
       .cpu = "x86-64-v4",
       .features = {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl",
                    "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"},
       .vectorBits = 512,
       .vectorRegisters = 32,
       .fma = true,
       .bf16Dot = true,
       .int8Dot = true,
       .amx = true,
       .l1Bytes = 48 << 10,
       .l2Bytes = 2 << 20,
       .l3Bytes = 32 << 20,
       .sharedCacheIsFast = false,
       .prefetchersSuffice = false,
       .portsBesideProducts = false},
      gpu("compute_80", 80, "compute_80", 99), // what every later GPU has
      gpu("sm_80", 80, "sm_80", 163),
      gpu("sm_89", 89, "sm_89", 99),
      gpu("sm_90", 90, "sm_90a", 227),
      gpu("sm_100", 100, "sm_100a", 227),
  };
  return rows;
}

struct CpuBit {
  const char *name;
  unsigned leaf, subleaf;
  char reg;
  unsigned bit;
};

constexpr CpuBit kCpuBits[] = {
    {"sse2", 1, 0, 'd', 26},     {"fma", 1, 0, 'c', 12},      {"movbe", 1, 0, 'c', 22},    {"avx", 1, 0, 'c', 28},
    {"f16c", 1, 0, 'c', 29},     {"bmi1", 7, 0, 'b', 3},      {"avx2", 7, 0, 'b', 5},      {"bmi2", 7, 0, 'b', 8},
    {"avx512f", 7, 0, 'b', 16},  {"avx512dq", 7, 0, 'b', 17}, {"avx512cd", 7, 0, 'b', 28}, {"avx512bw", 7, 0, 'b', 30},
    {"avx512vl", 7, 0, 'b', 31}, {"avx512_vnni", 7, 0, 'c', 11}, {"avx512_bf16", 7, 1, 'a', 5},
    {"amx_bf16", 7, 0, 'd', 22}, {"amx_tile", 7, 0, 'd', 24}, {"amx_int8", 7, 0, 'd', 25},
};

/// Register state the operating system saves (XCR0): bits 1,2 for ymm, 5..7 for zmm as well, 17 and 18 for tiles.
unsigned savedState() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
    return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/// Tile registers must be asked for, once for all threads of a process; refused where a thread's alternate signal stack is too small to save them.
bool mayUseTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM
  static const bool permitted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return permitted;
}

std::vector<std::string> probeHost() {
  unsigned state = savedState();
  std::vector<std::string> found;
  for (const CpuBit &bit : kCpuBits) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(bit.leaf, bit.subleaf, &a, &b, &c, &d))
      continue;
    unsigned value = bit.reg == 'a' ? a : bit.reg == 'b' ? b : bit.reg == 'c' ? c : d;
    std::string_view name = bit.name;
    bool zmm = name.starts_with("avx512"), ymm = zmm || name.starts_with("avx") || name == "fma" || name == "f16c";
    bool tile = name.starts_with("amx");
    bool saved = (!ymm || (state & 6) == 6) && (!zmm || (state & 0xe0) == 0xe0) && (!tile || (state & 0x60000) == 0x60000);
    if (((value >> bit.bit) & 1) && saved)
      found.emplace_back(name);
  }
  return found;
}

bool contains(std::span<const std::string> list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

} // namespace

std::span<const Target> llmopt::allTargets() { return table(); }

std::vector<std::string> llmopt::hostFeatures() {
  std::vector<std::string> host = probeHost();
  const char *limit = std::getenv("LLMOPT_CPU");
  if (!limit || !*limit)
    return host;
  for (const Target &row : table())
    if (row.name == limit)
      std::erase_if(host, [&](const std::string &name) { return !contains(row.features, name) && name != "sse2"; });
  return host;
}

std::vector<std::string> llmopt::missingFeatures(std::span<const std::string> needed) {
  std::vector<std::string> host = hostFeatures(), missing;
  for (const std::string &name : needed)
    if (!contains(host, name) || (name.starts_with("amx") && !mayUseTiles()))
      missing.push_back(name);
  return missing;
}

Result<Target> llmopt::findTarget(std::string_view name) {
  if (name == "native") {
    if (const char *limit = std::getenv("LLMOPT_CPU"); limit && *limit && limit != name)
      if (Result<Target> row = findTarget(limit); !row)
        return usageError("E0301", "LLMOPT_CPU: " + row.error().message);
    for (auto row = table().rbegin(); row != table().rend(); ++row)
      if (!row->isGpu() && missingFeatures(row->features).empty())
        return *row;
    return table().front();
  }
  std::string known = "native";
  for (const Target &row : table()) {
    if (row.name == name)
      return row;
    known += ", " + row.name;
  }
  return usageError("E0301", "unknown target '" + std::string(name) + "'; known: " + known);
}
