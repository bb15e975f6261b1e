//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t llmopt::hashBytes(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t llmopt::hashString(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

std::string llmopt::hashHex(uint64_t hash) {
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, hash >>= 4)
    text[size_t(i)] = "0123456789abcdef"[hash & 15];
  return text;
}
