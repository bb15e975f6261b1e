//===- printed_values.cuh - what printed expressions are written in -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Integers have no sign of their own (as in MLIR), so arithmetic is unsigned and signed operations say so.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "division.cuh"

template <typename T, int N>
struct Vec {
  T v[N];
};

/// Reads and writes any type at an address.
template <typename T>
DEVICE T &at(u8 *address) {
  return *reinterpret_cast<T *>(address);
}

template <typename To, typename From>
DEVICE To bitcast(From value) {
  return __builtin_bit_cast(To, value);
}

#ifdef __CUDACC_RTC__
#define LLMOPT_BUILTIN(name) name
#else
#define LLMOPT_BUILTIN(name) __builtin_##name
#endif
// Rounded as told, whatever the compiler may contract.
DEVICE float fused(float a, float b, float c) { return LLMOPT_BUILTIN(fmaf)(a, b, c); }
DEVICE double fused(double a, double b, double c) { return LLMOPT_BUILTIN(fma)(a, b, c); }
DEVICE float squareRootOf(float x) { return LLMOPT_BUILTIN(sqrtf)(x); }
DEVICE double squareRootOf(double x) { return LLMOPT_BUILTIN(sqrt)(x); }
DEVICE float absolute(float x) { return LLMOPT_BUILTIN(fabsf)(x); }
DEVICE double absolute(double x) { return LLMOPT_BUILTIN(fabs)(x); }
DEVICE float copySign(float x, float sign) { return LLMOPT_BUILTIN(copysignf)(x, sign); }
DEVICE double copySign(double x, double sign) { return LLMOPT_BUILTIN(copysign)(x, sign); }

// ScalarFunctionId of KernelABI.h. clang has no libdevice here, so that kernels which call these need NVRTC or nvcc.
#define LLMOPT_SCALAR(id, name)                                                                                        \
  DEVICE double scalar##id(double x, double) { return LLMOPT_BUILTIN(name)(x); }
#define LLMOPT_SCALAR2(id, name)                                                                                       \
  DEVICE double scalar##id(double x, double y) { return LLMOPT_BUILTIN(name)(x, y); }
#if defined(LLMOPT_EMULATE) || !defined(__clang__)
LLMOPT_SCALAR(0, exp)
LLMOPT_SCALAR(1, log)
LLMOPT_SCALAR(2, sin)
LLMOPT_SCALAR(3, cos)
LLMOPT_SCALAR(4, tan)
LLMOPT_SCALAR(5, asin)
LLMOPT_SCALAR(6, acos)
LLMOPT_SCALAR(7, atan)
LLMOPT_SCALAR(8, sinh)
LLMOPT_SCALAR(9, cosh)
LLMOPT_SCALAR(10, asinh)
LLMOPT_SCALAR(11, acosh)
LLMOPT_SCALAR(12, atanh)
LLMOPT_SCALAR(13, tanh)
LLMOPT_SCALAR(14, erf)
LLMOPT_SCALAR2(15, pow)
LLMOPT_SCALAR2(16, fmod)
#endif

/// To an integer: as the CPU does it where the value fits, and defined (saturating) where it does not.
DEVICE i32 toInt32(double x) {
  return x != x ? i32(0x80000000) : x >= 2147483648.0 ? 0x7fffffff : x <= -2147483648.0 ? i32(0x80000000) : i32(x);
}
DEVICE i64 toInt64(double x) {
  return x != x || x <= -9223372036854775808.0 ? i64(0x8000000000000000ull) : x >= 9223372036854775808.0 ? 0x7fffffffffffffffll : i64(x);
}
DEVICE u64 toUint64(double x) { return x >= 9223372036854775808.0 ? u64(toInt64(x - 9223372036854775808.0)) + (1ull << 63) : u64(toInt64(x)); }

#ifndef UNROLL
#ifdef LLMOPT_EMULATE
#define UNROLL
#else
#define UNROLL _Pragma("unroll")
#endif
#endif
#ifdef LLMOPT_EMULATE
#define CONSTANT_DATA alignas(64) static const
#else
#define CONSTANT_DATA static __device__ const __attribute__((aligned(64)))
#endif
/// A statement for every lane `l` of vectors.
#define LANES(n) UNROLL for (int l = 0; l < n; ++l)
