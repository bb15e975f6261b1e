//===- TokenizerCharSet.h - sets of characters ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSET_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSET_H

#include "llmopt/lib/Support/TokenizerData.h"

#include <array>
#include <cstdint>
#include <vector>

namespace llmopt::text {

/// Pages of 256 characters, one bit each; equal pages of nothing and of everything are shared.
class CharSet {
public:
  explicit CharSet(const tokenizer::CharRanges &ranges = {}) : bits_(2) {
    bits_[kAll].fill(~uint64_t(0));
    for (const tokenizer::CharRange &range : ranges)
      add(range.first, range.last);
  }

  bool contains(uint32_t c) const { return c < kLimit && (bits_[pages_[c >> 8]][(c >> 6) & 3] >> (c & 63) & 1) != 0; }

private:
  using Page = std::array<uint64_t, 4>;
  static constexpr uint32_t kLimit = 0x110000;
  static constexpr uint16_t kNone = 0, kAll = 1;

  void add(uint32_t first, uint32_t last) {
    for (uint32_t c = first; c <= last && c < kLimit;) {
      if ((c & 255) == 0 && last - c >= 255) {
        pages_[c >> 8] = kAll;
        c += 256;
        continue;
      }
      uint16_t &page = pages_[c >> 8];
      if (page == kNone) {
        page = uint16_t(bits_.size());
        bits_.emplace_back();
      }
      bits_[page][(c >> 6) & 3] |= uint64_t(1) << (c & 63);
      ++c;
    }
  }

  std::array<uint16_t, kLimit / 256> pages_{};
  std::vector<Page> bits_;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERCHARSET_H
