//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/DType.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

using namespace llmopt;

namespace {
struct Row {
  DType type;
  std::string_view name;
  uint8_t bits;
  bool isFloat = false;
};
constexpr Row kRows[] = {{DType::F32, "f32", 32, true},
                         {DType::F64, "f64", 64, true},
                         {DType::F16, "f16", 16, true},
                         {DType::BF16, "bf16", 16, true},
                         {DType::I8, "i8", 8},
                         {DType::I16, "i16", 16},
                         {DType::I32, "i32", 32},
                         {DType::I64, "i64", 64},
                         {DType::U8, "u8", 8},
                         {DType::U16, "u16", 16},
                         {DType::U32, "u32", 32},
                         {DType::U64, "u64", 64},
                         {DType::Bool, "bool", 1},
                         {DType::F8E4M3FN, "f8e4m3fn", 8, true},
                         {DType::F8E4M3FNUZ, "f8e4m3fnuz", 8, true},
                         {DType::F8E5M2, "f8e5m2", 8, true},
                         {DType::F8E5M2FNUZ, "f8e5m2fnuz", 8, true},
                         {DType::F8E8M0, "f8e8m0", 8, true},
                         {DType::F6E2M3, "f6e2m3", 6, true},
                         {DType::F6E3M2, "f6e3m2", 6, true},
                         {DType::F4E2M1, "f4e2m1", 4, true},
                         {DType::I4, "i4", 4},
                         {DType::U4, "u4", 4},
                         {DType::I2, "i2", 2},
                         {DType::U2, "u2", 2}};
static_assert(std::size(kRows) == size_t(DType::U2) + 1);
} // namespace

size_t llmopt::dtypeSize(DType type) { return (kRows[size_t(type)].bits + 7u) / 8; }
int llmopt::dtypeBits(DType type) { return kRows[size_t(type)].bits; }
std::string_view llmopt::dtypeName(DType type) { return kRows[size_t(type)].name; }

std::optional<DType> llmopt::parseDType(std::string_view name) {
  for (const Row &row : kRows)
    if (row.name == name)
      return row.type;
  return std::nullopt;
}

bool llmopt::isFloat(DType type) { return kRows[size_t(type)].isFloat; }

float llmopt::f16ToFloat(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    float value = std::ldexp(float(mantissa), -24);
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t llmopt::floatToF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t((bits >> 16) & 0x8000);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u)
    return sign | 0x7e00;
  if (bits >= 0x477ff000u) // rounds past the largest half
    return sign | 0x7c00;
  if (bits < 0x38800000u) { // subnormal or zero: the float adder rounds
    float rounded = std::bit_cast<float>(bits) + 0.5f;
    return sign | uint16_t(std::bit_cast<uint32_t>(rounded) - 0x3f000000u);
  }
  return sign | uint16_t((bits + 0xc8000fffu + ((bits >> 13) & 1)) >> 13);
}

//===----------------------------------------------------------------------===//
// Packed elements
//===----------------------------------------------------------------------===//

uint64_t llmopt::packedBytes(DType type, uint64_t count) {
  if (type == DType::Bool || dtypeBits(type) >= 8)
    return count * dtypeSize(type);
  uint64_t bits = uint64_t(dtypeBits(type));
  return count / 8 * bits + (count % 8 * bits + 7) / 8;
}

void llmopt::unpackElements(DType type, std::span<const std::byte> packed, std::span<std::byte> out) {
  int bits = dtypeBits(type);
  bool isSigned = type == DType::I4 || type == DType::I2;
  for (size_t i = 0; i < out.size(); ++i) {
    size_t at = i * size_t(bits), byte = at / 8;
    uint32_t window = uint32_t(packed[byte]) | (byte + 1 < packed.size() ? uint32_t(packed[byte + 1]) << 8 : 0);
    uint32_t code = (window >> (at % 8)) & ((1u << bits) - 1);
    if (isSigned && (code >> (bits - 1)))
      code |= 0xffu << bits;
    out[i] = std::byte(code);
  }
}

//===----------------------------------------------------------------------===//
// Formats of at most 8 bits
//===----------------------------------------------------------------------===//

const NarrowFloat *llmopt::narrowFloat(DType type) {
  using S = NarrowFloat::Specials;
  static constexpr NarrowFloat e4m3fn{4, 3, 7, S::Nan}, e4m3fnuz{4, 3, 8, S::NanForZero}, e5m2{5, 2, 15, S::Ieee},
      e5m2fnuz{5, 2, 16, S::NanForZero}, e8m0{8, 0, 127, S::Nan, false}, e2m3{2, 3, 1, S::None}, e3m2{3, 2, 3, S::None}, e2m1{2, 1, 1, S::None};
  switch (type) {
  case DType::F8E4M3FN: return &e4m3fn;
  case DType::F8E4M3FNUZ: return &e4m3fnuz;
  case DType::F8E5M2: return &e5m2;
  case DType::F8E5M2FNUZ: return &e5m2fnuz;
  case DType::F8E8M0: return &e8m0;
  case DType::F6E2M3: return &e2m3;
  case DType::F6E3M2: return &e3m2;
  case DType::F4E2M1: return &e2m1;
  default: return nullptr;
  }
}

uint8_t NarrowFloat::largest() const {
  int all = (1 << magnitudeBits()) - 1;
  if (specials == Specials::Ieee)
    return uint8_t(all - (1 << mantissaBits));
  return uint8_t(specials == Specials::Nan ? all - 1 : all);
}

uint8_t NarrowFloat::nan() const {
  int all = (1 << magnitudeBits()) - 1;
  switch (specials) {
  case Specials::None: return uint8_t(1 << magnitudeBits());
  case Specials::Nan: return uint8_t(all);
  case Specials::NanForZero: return uint8_t(1 << magnitudeBits());
  case Specials::Ieee: return uint8_t(all - (1 << (mantissaBits - 1)) + 1);
  }
  return 0;
}

float NarrowFloat::decode(uint8_t code) const {
  int magnitude = code & ((1 << magnitudeBits()) - 1), exponent = magnitude >> mantissaBits, mantissa = magnitude & ((1 << mantissaBits) - 1);
  float sign = hasSign && (code >> magnitudeBits() & 1) ? -1.0f : 1.0f;
  if ((specials == Specials::NanForZero && code == nan()) || (specials != Specials::NanForZero && magnitude > largest())) {
    bool isInfinity = specials == Specials::Ieee && mantissa == 0;
    return sign * (isInfinity ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN());
  }
  if (!hasSign)
    return std::ldexp(1.0f, exponent - bias);
  if (exponent == 0)
    return sign * std::ldexp(float(mantissa), 1 - bias - mantissaBits);
  return sign * std::ldexp(float((1 << mantissaBits) + mantissa), exponent - bias - mantissaBits);
}

uint8_t NarrowFloat::encode(float value, bool saturate) const {
  uint8_t sign = hasSign && std::signbit(value) ? uint8_t(1 << magnitudeBits()) : 0;
  if (std::isnan(value))
    return specials == Specials::Nan || specials == Specials::Ieee ? uint8_t(nan() | sign) : nan();
  double magnitude = std::fabs(double(value));
  int code = 0;
  if (!hasSign) {
    int exponent = magnitude == 0 ? -bias : std::isinf(magnitude) ? largest() + 1 : std::ilogb(magnitude);
    if (magnitude >= std::ldexp(1.5, exponent))
      ++exponent;
    code = std::max(exponent + bias, 0);
  } else if (std::isinf(magnitude)) {
    code = largest() + 1;
  } else if (magnitude > 0) {
    int exponent = std::max(std::ilogb(magnitude), 1 - bias);
    // A mantissa that rounds up to the next power of two carries into the exponent of the code.
    int mantissa = int(std::nearbyint(std::ldexp(magnitude, mantissaBits - exponent)));
    code = ((exponent + bias - 1) << mantissaBits) + mantissa;
  }
  if (code > largest()) {
    if (saturate || specials == Specials::None)
      return uint8_t(largest() | sign);
    return specials == Specials::Ieee ? uint8_t((((1 << exponentBits) - 1) << mantissaBits) | sign)
           : specials == Specials::NanForZero ? nan() : uint8_t(nan() | sign);
  }
  return code == 0 && specials == Specials::NanForZero ? 0 : uint8_t(code | sign);
}
