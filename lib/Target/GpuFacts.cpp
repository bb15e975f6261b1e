//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Target/GpuFacts.h"

#include <algorithm>
#include <utility>

using namespace llmopt;

/// NVIDIA's table of technical specifications by compute capability, and its data sheets.
static constexpr GpuFacts kTable[] = {
    {80, "A100 80GB", 108, 64, 32, 164 << 10, 2.039e12, 19.5e12, 312e12, 624e12},
    {89, "L40S", 142, 48, 24, 100 << 10, 0.864e12, 91.6e12, 362e12, 733e12},
    {90, "H200", 132, 64, 32, 228 << 10, 4.8e12, 67e12, 989e12, 1979e12},
    {100, "B200", 148, 64, 32, 228 << 10, 8e12, 80e12, 2250e12, 4500e12},
};

const GpuFacts *llmopt::gpuFacts(int capability) {
  for (const GpuFacts &row : kTable)
    if (row.capability == capability)
      return &row;
  return nullptr;
}

static uint32_t up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

Occupancy llmopt::occupancy(const GpuFacts &gpu, uint32_t threads, uint32_t registers, uint32_t sharedBytes) {
  // Registers are given to a warp in pieces of 256, shared memory in pieces of 128 bytes behind 1 KiB that the system keeps of each block.
  constexpr uint32_t kRegisters = 65536, kReserved = 1024;
  uint32_t warps = std::max(1u, up(threads, 32) / 32);
  std::pair<uint32_t, const char *> limits[] = {
      {gpu.blocks, "blocks"},
      {gpu.warps / warps, "threads"},
      {registers ? kRegisters / up(registers * 32, 256) / warps : gpu.blocks, "registers"},
      {gpu.sharedBytes / up(sharedBytes + kReserved, 128), "shared memory"},
  };
  auto least = *std::min_element(std::begin(limits), std::end(limits), [](auto &a, auto &b) { return a.first < b.first; });
  return {least.first, double(least.first * warps) / gpu.warps, least.second};
}
