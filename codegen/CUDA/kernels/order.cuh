//===- order.cuh - numbers as unsigned ones in the same order -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Both zeros are equal; what is no number is greater than all numbers.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

DEVICE u32 orderOf(float x) {
  u32 bits = bitsOf(x) == 0x80000000u ? 0 : bitsOf(x);
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0xffffffffu : bits >> 31 ? ~bits : bits | 0x80000000u;
}

DEVICE u64 orderOf(double x) {
  constexpr u64 kSign = u64(1) << 63;
  u64 bits = __builtin_bit_cast(u64, x);
  bits = bits == kSign ? 0 : bits;
  return (bits & ~kSign) > 0x7ff0000000000000ull ? ~u64(0) : bits >> 63 ? ~bits : bits | kSign;
}
