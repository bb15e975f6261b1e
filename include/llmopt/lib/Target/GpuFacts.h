//===- GpuFacts.h - what kernels on a GPU are held against ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_TARGET_GPUFACTS_H
#define LLMOPT_LIB_TARGET_GPUFACTS_H

#include <cstdint>
#include <string_view>

namespace llmopt {

/// A GPU of a compute capability: limits of its multiprocessors, and its maker's nominal speeds (dense, boost clock).
struct GpuFacts {
  int capability;
  const char *name;           ///< the model whose speeds these are
  uint32_t multiprocessors;
  uint32_t warps, blocks;     ///< of a multiprocessor, at most
  uint32_t sharedBytes;       ///< of a multiprocessor
  double bandwidth;           ///< bytes a second
  double f32, half, narrow;   ///< FLOP/s without tensor cores; with them in 16 and 8 bits

  /// FLOP/s for what a kernel multiplies ("f32", "dp4a": four products of bytes at half the rate of one in f32, "3xtf32": f32 by three products of half
  /// the speed of 16 bits, "bf16", "f16", "e4m3", "i8").
  double peak(std::string_view math) const { return math == "f32" ? f32 : math == "dp4a" ? 2 * f32 : math == "3xtf32" ? half / 6 : math == "bf16" || math == "f16" ? half : narrow; }
};

/// Null for a capability that is not in the table.
const GpuFacts *gpuFacts(int capability);

/// What limits how many blocks of a kernel share a multiprocessor.
struct Occupancy {
  uint32_t blocks = 0;
  double share = 0;          ///< of the warps that a multiprocessor can hold
  const char *limit = "";    ///< "registers", "shared memory", "threads" or "blocks"
};
Occupancy occupancy(const GpuFacts &gpu, uint32_t threads, uint32_t registers, uint32_t sharedBytes);

} // namespace llmopt

#endif // LLMOPT_LIB_TARGET_GPUFACTS_H
