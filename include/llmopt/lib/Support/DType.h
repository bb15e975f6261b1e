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
#include <string_view>

namespace llmopt {

/// Element types of tensors in files, artifacts and at the API. The numbers are stored in artifacts: append only.
enum class DType : uint8_t { F32, F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64, Bool };

/// Bytes of one element (Bool: 1).
size_t dtypeSize(DType type);
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

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_DTYPE_H
