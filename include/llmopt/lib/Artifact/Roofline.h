//===- Roofline.h - what a GPU's limits allow a kernel ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Analytic: bytes that must move and operations that must be done, from the plan, against nominal speeds, and how well the blocks fill
// the multiprocessors. No measurement; a bound to hold measurements against.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_ROOFLINE_H
#define LLMOPT_LIB_ARTIFACT_ROOFLINE_H

#include "llmopt/lib/Artifact/DeviceCode.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Target/GpuFacts.h"

namespace llmopt {

struct Roofline {
  double bytes = 0, flops = 0;
  double seconds = 0;         ///< at least, with the blocks' waves as they are
  bool memoryBound = true;
  double ofBandwidth = 0, ofPeak = 0; ///< shares that are reached if the launch takes `seconds`
  int64_t blocks = 0;
};

/// One launch of `kernel` with so many work units.
Roofline roofline(const GpuFacts &gpu, const DeviceKernel &kernel, double bytes, double flops, int64_t units);

/// Values for an entry's symbols: one sequence of `tokens` tokens without a past.
std::vector<int64_t> sampleSymbols(const plan::Entry &entry, int64_t tokens);

/// A row for each kernel that a plan launches: resources, occupancy, and the sum of its launches in one run of each entry with 1 token and with
/// `tokens` of them, drawing a token included, and of what is done once when the artifact is loaded. Null where nothing is known of such GPUs.
Json kernelTable(const plan::Plan &plan, const DeviceCode &code, int64_t tokens);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_ROOFLINE_H
