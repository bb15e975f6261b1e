//===- unpack.cuh - panels of a weight as rows ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For TMA, which cannot read panels. Runs once, when the artifact is loaded. As printed kernels: no barrier, nothing shared.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "printed.cuh"

/// [ceil(rows / 16)][ceil(depth / kGroup)][16][kGroup] to [rows][stride], zero beyond the depth; `stride` is a multiple of 8. Neighbouring threads take
/// neighbouring columns of a panel, eight numbers each.
template <int kGroup, class Element>
DEVICE void unpackPanels(const Element *from, Element *to, u64 rows, u64 depth, u64 stride) {
  u64 groups = (depth + kGroup - 1) / kGroup, chunks = stride / 8, units = (rows + 15) / 16 * chunks * 16;
  for (u64 unit = gridThread(); unit < units; unit += gridThreads()) {
    u64 panel = quotient(unit / 16, chunks), first = (unit / 16 - panel * chunks) * 8, row = panel * 16 + unit % 16;
    if (row >= rows)
      continue;
    UNROLL
    for (u64 i = 0; i < 8; ++i) {
      u64 k = first + i;
      to[row * stride + k] = k < depth ? from[((panel * groups + k / kGroup) * 16 + unit % 16) * kGroup + k % kGroup] : Element(0);
    }
  }
}
