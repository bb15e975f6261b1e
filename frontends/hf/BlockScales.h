//===- BlockScales.h - weights of 4 bits with a scale a block ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_BLOCKSCALES_H
#define LLMOPT_FRONTENDS_HF_BLOCKSCALES_H

#include "llmopt/lib/Support/WeightStore.h"

namespace llmopt::hf {

inline constexpr int64_t kMxBlock = 32; ///< numbers that share a scale

/// MXFP4 (OCP Microscaling formats 1.0): `blocks` [..., K / 32, 16], two E2M1 codes a byte, the first in the low half, and `scales` [..., K / 32], powers of
/// two as E8M0. As bf16 [..., K], which holds every product of the two.
StoredWeight decodeMxfp4(const StoredWeight &blocks, const StoredWeight &scales);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_BLOCKSCALES_H
