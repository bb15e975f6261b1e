//===- TokenizerPieces.h - a text cut into words --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERPIECES_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERPIECES_H

#include "TokenizerUtf8.h"
#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::text {

/// A text on its way through the normalizers. `atStart` counts the bytes at its front that stand for the first
/// character of the whole input; some pre-tokenizers treat just the word that begins the input differently.
struct Text {
  std::string bytes;
  size_t atStart = 0;
};

struct Piece {
  size_t begin = 0, end = 0; ///< in Pieces::text
  size_t atStart = 0;
  int32_t token = -1; ///< id, when it is an added token and so final
};

struct Pieces {
  std::string text;
  std::vector<Piece> list;

  std::string_view view(const Piece &piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

/// A part of `piece`; offsets count from its begin.
inline Piece slice(const Piece &piece, size_t begin, size_t end) {
  size_t atStart = begin < piece.atStart ? std::min(piece.atStart, end) - begin : 0;
  return {piece.begin + begin, piece.begin + end, atStart, -1};
}

/// Writes a new version of a text, character by character, and keeps `atStart` right: a character that takes the
/// place of an old one inherits its position, an inserted one that of the old character before it.
class Rewriter {
public:
  explicit Rewriter(const Text &old) : old_(old), tracking_(old.atStart > 0) { out_.bytes.reserve(old.bytes.size()); }

  /// `change` 0: in the place of one old character; -n: in the place of one, and n more are gone; 1: inserted.
  void put(uint32_t c, int change) {
    appendUtf8(out_.bytes, c);
    if (!tracking_)
      return;
    bool first = change > 0 ? offset_ < 1 || offset_ - 1 < old_.atStart : offset_ < old_.atStart;
    if (first)
      out_.atStart = out_.bytes.size();
    tracking_ = first;
    for (int gone = change; gone <= 0; ++gone)
      drop();
  }
  /// One old character disappears.
  void drop() {
    if (tracking_ && offset_ < old_.bytes.size())
      offset_ += charLength(old_.bytes[offset_]);
  }
  void dropBytes(size_t count) { offset_ += count; }
  void copyBytes(std::string_view bytes) {
    out_.bytes += bytes;
    if (tracking_ && !bytes.empty()) {
      out_.atStart += std::min(bytes.size(), old_.atStart - std::min(old_.atStart, offset_));
      tracking_ = offset_ + bytes.size() <= old_.atStart;
      offset_ += bytes.size();
    }
  }
  Text take() { return std::move(out_); }

private:
  const Text &old_;
  Text out_;
  size_t offset_ = 0; ///< where in the old text we stand; only kept while it matters
  bool tracking_;
};

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERPIECES_H
