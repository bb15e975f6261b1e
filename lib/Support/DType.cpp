//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/DType.h"

#include <array>
#include <cmath>

using namespace llmopt;

namespace {
struct Row {
  DType type;
  std::string_view name;
  uint8_t size;
};
constexpr std::array<Row, 13> kRows = {{{DType::F32, "f32", 4},
                                        {DType::F64, "f64", 8},
                                        {DType::F16, "f16", 2},
                                        {DType::BF16, "bf16", 2},
                                        {DType::I8, "i8", 1},
                                        {DType::I16, "i16", 2},
                                        {DType::I32, "i32", 4},
                                        {DType::I64, "i64", 8},
                                        {DType::U8, "u8", 1},
                                        {DType::U16, "u16", 2},
                                        {DType::U32, "u32", 4},
                                        {DType::U64, "u64", 8},
                                        {DType::Bool, "bool", 1}}};
} // namespace

size_t llmopt::dtypeSize(DType type) { return kRows[size_t(type)].size; }
std::string_view llmopt::dtypeName(DType type) { return kRows[size_t(type)].name; }

std::optional<DType> llmopt::parseDType(std::string_view name) {
  for (const Row &row : kRows)
    if (row.name == name)
      return row.type;
  return std::nullopt;
}

bool llmopt::isFloat(DType type) {
  return type == DType::F32 || type == DType::F64 || type == DType::F16 || type == DType::BF16;
}

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
