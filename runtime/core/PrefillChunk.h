//===- PrefillChunk.h - how much of a prompt runs at once -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_PREFILLCHUNK_H
#define LLMOPT_RUNTIME_CORE_PREFILLCHUNK_H

#include <cstddef>

namespace llmopt {

/// Tokens of one step at most, over all sequences: enough to be bound by arithmetic, little enough for activations to
/// stay in the cache.
inline constexpr size_t kPrefillChunk = 512;

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_PREFILLCHUNK_H
