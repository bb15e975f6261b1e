//===- division.cuh - integer division by what is not known when compiling -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For 64 bits the compilers call a function, around which ptxas spills registers. This is neither a call nor a loop, so that equal
// divisions of neighbouring elements become one.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "prelude.cuh"

#ifdef LLMOPT_EMULATE // not in emulation.cuh, which printed kernels do without
DEVICE double reciprocalApprox(double x) { return __builtin_bit_cast(double, __builtin_bit_cast(u64, 1.0 / x) & 0xfffffff800000000ull); }
#else
#include "primitives.cuh"
#endif

DEVICE u64 quotient(u64 a, u64 b) {
  double divisor = double(b), reciprocal = reciprocalApprox(divisor);
  reciprocal = reciprocal + reciprocal * (1.0 - divisor * reciprocal);
  reciprocal = reciprocal + reciprocal * (1.0 - divisor * reciprocal);
  reciprocal *= 1.0 - 3.5527136788005009e-15; // 2^-48: never too large, so that the rests are not negative
  u64 result = u64(double(a) * reciprocal), rest = a - result * b;
  u64 more = u64(double(rest) * reciprocal);
  rest -= more * b;
  return result + more + (rest >= b);
}
/// Rounded towards zero.
DEVICE i64 quotient(i64 a, i64 b) {
  u64 result = quotient(a < 0 ? 0 - u64(a) : u64(a), b < 0 ? 0 - u64(b) : u64(b));
  return i64((a < 0) != (b < 0) ? 0 - result : result);
}
DEVICE u64 remainderOf(u64 a, u64 b) { return a - quotient(a, b) * b; }
DEVICE i64 remainderOf(i64 a, i64 b) { return i64(u64(a) - u64(quotient(a, b)) * u64(b)); }
