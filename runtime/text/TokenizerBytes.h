//===- TokenizerBytes.h - bytes as printable characters -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERBYTES_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERBYTES_H

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llmopt::text {

/// The alphabet of byte-level vocabularies: printable Latin-1 characters stand for themselves, the other 68 bytes for
/// U+0100 and the following, in order. So a space is U+0120.
class ByteAlphabet {
public:
  constexpr ByteAlphabet() {
    uint16_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      toChar_[byte] = printable ? uint16_t(byte) : next++;
    }
    for (uint32_t byte = 0; byte < 256; ++byte)
      toByte_[toChar_[byte]] = int16_t(byte);
  }
  constexpr uint32_t charOf(uint8_t byte) const { return toChar_[byte]; }
  /// -1 for characters outside the alphabet.
  constexpr int byteOf(uint32_t c) const { return c < toByte_.size() ? toByte_[c] : -1; }

private:
  static constexpr std::array<int16_t, 0x144> nothing() {
    std::array<int16_t, 0x144> list{};
    for (int16_t &entry : list)
      entry = -1;
    return list;
  }
  std::array<uint16_t, 256> toChar_{};
  std::array<int16_t, 0x144> toByte_ = nothing();
};
inline constexpr ByteAlphabet kByteAlphabet;

/// The byte a token like "<0x41>" stands for.
inline std::optional<uint8_t> byteOfToken(std::string_view token) {
  auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>' || digit(token[3]) < 0 || digit(token[4]) < 0)
    return std::nullopt;
  return uint8_t(digit(token[3]) * 16 + digit(token[4]));
}

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERBYTES_H
