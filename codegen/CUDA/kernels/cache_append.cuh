//===- cache_append.cuh - keys and values of a step to the cache ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llm.cache_append, keys rotated on the way (llm.rope). Any target. Cache blocks lie as codegen/Common/CacheLayout.h says. Problem has
//
//   kKvHeads, kKeySize, kValueSize
//   kTable              0: the sequence's own states, 1: the encoder's
//   and what rope.cuh asks for
//
// A unit is a key-value head of a token; a thread takes every kThreads-th number of its key and value.
//
//===----------------------------------------------------------------------===//
#include "rope.cuh"

template <class Problem>
struct CacheAppend {
  static constexpr int kThreads = 128, kD = Problem::kKeySize, kE = Problem::kValueSize;
  static constexpr i64 kHeadSize = 64 * (kD + (kE + 15) / 16 * 16), kBlockSize = kHeadSize * Problem::kKvHeads;

  struct Operands {
    const float *keys, *values;
    const typename Problem::Position *positions;
    const float *frequencies;
    float *cache;
  };

  DEVICE_MEMBER static i64 units(i64 tokens) { return tokens * Problem::kKvHeads; }

  static DEVICE_MEMBER void run(const StepTable *table, i64 units, const Operands &operands) {
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 token = unit / Problem::kKvHeads;
      SequenceRow sequence = table->rows[Problem::kTable][table->tokenSequence[token]];
      u32 place = u32(sequence.past + token - sequence.first), slot = place % 64;
      i64 block = table->blocks[Problem::kTable][sequence.table + place / 64];
      float *head = operands.cache + block * kBlockSize + unit % Problem::kKvHeads * kHeadSize;
      for (int i = threadIdx.x; i < kD; i += kThreads)
        head[slot / 16 * kD * 16 + i * 16 + slot % 16] = rotatedElement<Problem>(operands.keys + unit * kD, i, operands.positions + token, operands.frequencies);
      for (int i = threadIdx.x; i < kE; i += kThreads)
        head[64 * kD + i / 16 * 64 * 16 + slot * 16 + i % 16] = operands.values[unit * kE + i];
    }
  }
};
