//===- CacheLayout.h - how keys and values lie in a cache block -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block holds kCacheBlockTokens tokens of all key-value heads, head after head, keys before values. Both parts are panels as
// matrix kernels stream them, so that attention needs no horizontal sums and no copies:
//
//   keys    [tokens / 16][D][16]       panel of 16 tokens, transposed
//   values  [ceil(E / 16)][tokens][16]  panel of 16 features; features beyond E are never written
//
// In bf16 what a dot product takes together lies together: two features of a key, two tokens of a value.
//
//   keys    [tokens / 16][ceil(D / 2)][16][2]
//   values  [ceil(E / 16)][tokens / 2][16][2]
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_CACHELAYOUT_H
#define LLMOPT_CODEGEN_COMMON_CACHELAYOUT_H

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Support/DType.h"

#include <cstdint>

namespace llmopt {

struct CacheLayout {
  int64_t kvHeads = 0, keySize = 0, valueSize = 0;
  DType dtype = DType::F32;

  static constexpr int64_t kPanel = 16;
  bool inPairs() const { return dtype == DType::BF16; }
  /// Features of a key in memory.
  int64_t keyDepth() const { return inPairs() ? (keySize + 1) / 2 * 2 : keySize; }
  /// Elements (not bytes) of one panel of keys, of one panel of values, of a head's keys, of a head, of a block.
  int64_t keyPanel() const { return keyDepth() * kPanel; }
  int64_t valuePanel() const { return kCacheBlockTokens * kPanel; }
  int64_t keysOfHead() const { return kCacheBlockTokens * keyDepth(); }
  int64_t valuePanels() const { return (valueSize + kPanel - 1) / kPanel; }
  int64_t head() const { return keysOfHead() + valuePanels() * valuePanel(); }
  int64_t block() const { return kvHeads * head(); }
};

/// Bytes of one block: block b of a pool begins at b times this.
inline int64_t cacheBlockBytes(int64_t kvHeads, int64_t keySize, int64_t valueSize, DType dtype) {
  return CacheLayout{kvHeads, keySize, valueSize, dtype}.block() * int64_t(dtypeSize(dtype));
}

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_CACHELAYOUT_H
