//===- DType.h - element types ----------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_DTYPE_H
#define LLMOPT_LIB_SUPPORT_DTYPE_H

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace llmopt {

/// Element types of tensors in files, artifacts and at the API. The numbers are stored in artifacts: append only.
/// Types of less than 8 bits have a byte an element: integers by their value, floats by their code in the low bits.
enum class DType : uint8_t {
  F32, F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64, Bool,
  F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, F6E2M3, F6E3M2, F4E2M1, I4, U4, I2, U2
};

/// Bytes of one element (Bool and all that is narrower than a byte: 1).
size_t dtypeSize(DType type);
/// Bits of an element that count (Bool: 1).
int dtypeBits(DType type);
/// "f32", "bf16", "i64", "u8", "bool".
std::string_view dtypeName(DType type);
std::optional<DType> parseDType(std::string_view name);
bool isFloat(DType type);

/// bfloat16 and IEEE half, as bits. Narrowing rounds to nearest even; NaN stays NaN.
inline float bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
inline uint16_t floatToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return uint16_t(bits >> 16) | 0x40;
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float f16ToFloat(uint16_t bits);
uint16_t floatToF16(float value);

/// Files store elements of less than 8 bits back to back, the first in the lowest bits (Bool: a byte each).
uint64_t packedBytes(DType type, uint64_t count);
/// One byte for each element; `packed` holds packedBytes(type, out.size()).
void unpackElements(DType type, std::span<const std::byte> packed, std::span<std::byte> out);

/// A floating-point format of at most 8 bits (OCP MX formats, and the variants without infinities and negative zero).
struct NarrowFloat {
  enum class Specials : uint8_t {
    None,       ///< finite numbers only
    Nan,        ///< all bits set: NaN
    NanForZero, ///< negative zero's code: NaN; there is one zero
    Ieee        ///< the highest exponent: infinity and NaN
  };
  int exponentBits, mantissaBits, bias;
  Specials specials;
  bool hasSign = true;

  int magnitudeBits() const { return exponentBits + mantissaBits; }
  /// The code of the largest finite number.
  uint8_t largest() const;
  /// What NaN becomes; formats without one have a zero.
  uint8_t nan() const;
  float decode(uint8_t code) const;
  /// Rounds to nearest even. What is beyond the largest number becomes it (`saturate`), else infinity or NaN.
  /// Without a sign (e8m0) the nearest power of two, ties up.
  uint8_t encode(float value, bool saturate) const;
};
/// Null for other types.
const NarrowFloat *narrowFloat(DType type);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_DTYPE_H
