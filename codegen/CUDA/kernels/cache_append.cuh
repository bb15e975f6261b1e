//===- cache_append.cuh - keys and values of a step to the cache ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llm.cache_append, keys rotated on the way (llm.rope). Any target. Cache blocks lie as paged_attention.cuh says. Problem has
//
//   Cache               float, bf16 or f16
//   kKvHeads, kKeySize, kValueSize
//   kTable              0: the sequence's own states, 1: the encoder's
//   and what rope.cuh asks for
//
// A unit is a key-value head of a token; a thread takes every kThreads-th number of its key and value.
//
//===----------------------------------------------------------------------===//
#include "rope.cuh"
#include "vectors.cuh"

/// As the cache keeps it. What f16 has no number for becomes its largest, since one infinity would spoil every later token; NaN stays.
template <class T>
DEVICE void keep(T &to, float x) { assign(to, x); }
DEVICE void keep(f16 &to, float x) {
  constexpr float kLargest = 65504.0f;
  assign(to, x > kLargest ? kLargest : x < -kLargest ? -kLargest : x);
}

template <class Problem>
struct CacheAppend {
  static constexpr int kThreads = 128, kD = Problem::kKeySize, kE = Problem::kValueSize;
  typedef typename Problem::Cache Cache;
  static constexpr int kPanel = sizeof(Cache) == 4 ? 16 : 8; ///< tokens of a panel of keys, features of one of values
  static constexpr i64 kHeadSize = 64 * (kD + (kE + 15) / 16 * 16), kBlockSize = kHeadSize * Problem::kKvHeads;

  struct Operands {
    const float *keys, *values;
    const typename Problem::Position *positions;
    const float *frequencies;
    Cache *cache;
  };

  DEVICE_MEMBER static i64 units(i64 tokens) { return tokens * Problem::kKvHeads; }

  static DEVICE_MEMBER void run(const StepTable *table, i64 units, const Operands &operands) {
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 token = unit / Problem::kKvHeads;
      SequenceRow sequence = table->rows[Problem::kTable][table->tokenSequence[token]];
      u32 place = u32(sequence.past + token - sequence.first), slot = place % 64;
      i64 block = table->blocks[Problem::kTable][sequence.table + place / 64];
      Cache *head = operands.cache + block * kBlockSize + unit % Problem::kKvHeads * kHeadSize;
      for (int i = threadIdx.x; i < kD; i += kThreads)
        keep(head[slot / kPanel * kD * kPanel + i * kPanel + slot % kPanel], rotatedElement<Problem>(operands.keys + unit * kD, i, operands.positions + token, operands.frequencies));
      for (int i = threadIdx.x; i < kE; i += kThreads)
        keep(head[64 * kD + i / kPanel * 64 * kPanel + slot * kPanel + i % kPanel], operands.values[unit * kE + i]);
    }
  }
};
