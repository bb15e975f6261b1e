//===- ArenaPlacement.h - buffers that share memory over time ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_ARENAPLACEMENT_H
#define LLMOPT_RUNTIME_CORE_ARENAPLACEMENT_H

#include <cstdint>
#include <vector>

namespace llmopt {

/// A buffer that has to live from phase `first` to phase `last`, both included. Phases are what barriers separate: two
/// buffers of one phase may be in use at the same time, whatever the order of their stages.
struct ArenaRequest {
  uint64_t bytes = 0;
  uint32_t first = 0, last = 0;
  uint64_t offset = 0; ///< the answer, a multiple of 64
};

/// Places buffers so that those alive together do not overlap; returns the bytes needed. Largest first, each at the
/// lowest free address (Pisarchyk and Lee, arXiv:2001.03288, "greedy by size").
uint64_t placeBuffers(std::vector<ArenaRequest> &requests);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_ARENAPLACEMENT_H
