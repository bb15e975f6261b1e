//===- Wire.h - reading protocol buffers without a library ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_TOKENIZER_WIRE_H
#define LLMOPT_FRONTENDS_TOKENIZER_WIRE_H

#include <cstdint>
#include <cstring>
#include <string_view>

namespace llmopt::frontend {

/// The fields of one message, in the order of the bytes: while (reader.next()) look at number() and the value.
class WireReader {
public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  /// False at the end and at what is no field; `ok` tells which.
  bool next() {
    uint64_t key = 0;
    if (!ok_ || rest_.empty())
      return false;
    ok_ = varint(key) && key >> 3 != 0 && key >> 3 <= 0x1FFFFFFF;
    number_ = uint32_t(key >> 3);
    type_ = uint32_t(key & 7);
    return ok_ = ok_ && value();
  }
  bool ok() const { return ok_; }
  uint32_t number() const { return number_; }

  // The value, or nothing where the field has another type.
  uint64_t number64() const { return type_ == 0 ? scalar_ : 0; }
  bool flag() const { return number64() != 0; }
  float number32f() const {
    uint32_t bits = uint32_t(scalar_);
    float value = 0;
    if (type_ == 5)
      std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::string_view bytes() const { return type_ == 2 ? bytes_ : std::string_view(); }

private:
  bool varint(uint64_t &value) {
    value = 0;
    for (uint32_t shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      uint8_t byte = uint8_t(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }
  bool fixed(size_t size) {
    scalar_ = 0;
    if (rest_.size() < size)
      return false;
    std::memcpy(&scalar_, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }
  bool value() {
    switch (type_) {
    case 0:
      return varint(scalar_);
    case 1:
      return fixed(8);
    case 2:
      if (!varint(scalar_) || scalar_ > rest_.size())
        return false;
      bytes_ = rest_.substr(0, scalar_);
      rest_.remove_prefix(scalar_);
      return true;
    case 5:
      return fixed(4);
    default:
      return false; // groups: no file has them
    }
  }

  std::string_view rest_, bytes_;
  uint64_t scalar_ = 0;
  uint32_t number_ = 0, type_ = 0;
  bool ok_ = true;
};

} // namespace llmopt::frontend

#endif // LLMOPT_FRONTENDS_TOKENIZER_WIRE_H
