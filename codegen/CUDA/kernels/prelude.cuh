//===- prelude.cuh - what every kernel source starts from -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Types and plain C++ that mean the same on a GPU and on the host: no inline PTX, no barrier, no header of a toolkit.
// Compilers: NVRTC, nvcc, clang (-x cuda), and any host C++ compiler with LLMOPT_EMULATE defined.
//
//===----------------------------------------------------------------------===//
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#ifdef LLMOPT_EMULATE
#define GLOBAL
#define DEVICE static inline
#define DEVICE_MEMBER inline
#define LAUNCH_BOUNDS(...)
#define GRID_CONSTANT
#define RESTRICT __restrict__
#else
#ifdef __clang__ // without CUDA's headers
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __grid_constant__ __attribute__((grid_constant))
#endif
#define GLOBAL __global__
#define DEVICE static __device__ inline __attribute__((always_inline))
#define DEVICE_MEMBER __device__ inline __attribute__((always_inline))
#define LAUNCH_BOUNDS(...) __launch_bounds__(__VA_ARGS__)
#define GRID_CONSTANT __grid_constant__
#define RESTRICT __restrict__
#endif

#ifdef LLMOPT_EMULATE // not in emulation.cuh, which printed kernels do without
/// Whoever launches a kernel before the ones in front are done is called by each of its threads that wants them done.
extern "C" __attribute__((weak, visibility("default"))) void (*llmopt_dependencies)() = nullptr;
DEVICE void waitForDependencies() {
  if (llmopt_dependencies)
    llmopt_dependencies();
}
#endif

//===----------------------------------------------------------------------===//
// Step table: the bytes of lib/Artifact/KernelABI.h, with device addresses
//===----------------------------------------------------------------------===//

struct SequenceRow {
  u32 first, count, past, length, table, reserved;
};
struct StepTable {
  u32 tokens, sequences;
  const SequenceRow *rows[2];
  const i32 *blocks[2];
  const u32 *tokenSequence;
};

//===----------------------------------------------------------------------===//
// Small floats, by their bits
//===----------------------------------------------------------------------===//

DEVICE u32 bitsOf(float x) { return __builtin_bit_cast(u32, x); }
DEVICE float floatOf(u32 bits) { return __builtin_bit_cast(float, bits); }

struct bf16 {
  u16 bits;
};
struct f16 {
  u16 bits;
};
/// 8-bit float of 4 exponent and 3 mantissa bits, without infinities; conversions are primitives.
struct e4m3 {
  u8 bits;
};
/// What tensor cores multiply of a float: its lowest 13 bits do not count.
struct tf32 {};
/// Unsigned bytes times signed bytes.
struct u8i8 {};
/// e4m3 times e4m3, multiplied as f16.
struct e4m3AsF16 {};

DEVICE float toFloat(float x) { return x; }
DEVICE float toFloat(bf16 x) { return floatOf(u32(x.bits) << 16); }
/// Round to nearest even; NaN stays NaN.
DEVICE bf16 toBf16(float x) {
  u32 bits = bitsOf(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return bf16{u16((bits >> 16) | 0x40)};
  return bf16{u16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
DEVICE float toFloat(f16 x) {
  u32 sign = u32(x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 0x3ffu;
  if (exponent == 31)
    return floatOf(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) { // subnormal: mantissa * 2^-24
    float value = float(mantissa) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  return floatOf(sign | ((exponent + 112) << 23) | (mantissa << 13));
}
DEVICE f16 toF16(float x) {
  u32 bits = bitsOf(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return f16{u16(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
  if (magnitude >= 0x477ff000u) // rounds to 65536 or more
    return f16{u16(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) { // subnormal: adding 0.5 rounds to a multiple of 2^-24
    float rounded = floatOf(magnitude) + 0.5f;
    return f16{u16(sign | (bitsOf(rounded) - 0x3f000000u))};
  }
  u32 rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return f16{u16(sign | ((rounded - 0x38000000u) >> 13))};
}
