//===- MathApproximationF32.h - functions of f32 ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONF32_H
#define LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONF32_H

#include "codegen/CPU/MathApproximationNumber.h"

namespace llmopt::cpu::f32 {

Number exp(Number x, int64_t shift = 0); ///< e^x 2^shift
/// 2^x for x <= 0, not less than 2^-126; NaN stays. `rough`: relative error 8e-5, enough where the result is rounded to bf16.
Number exp2NotPositive(Number x, bool rough = false);
/// The same for 16 lanes on AVX-512, but what is smaller than all numbers is 0: 2^-infinity too.
Number exp2ByScaling(Number x);
/// The same with a relative error of 1.2e-4, enough where the result is rounded to bf16: one multiply-add, and tables in registers.
Number exp2ByTable(Number x);
Number log(Number x);
Number log1p(Number x);
Number tanh(Number x);
Number sinh(Number x);
Number cosh(Number x);
Number asinh(Number x);
Number acosh(Number x);
Number atanh(Number x);
Number erf(Number x);
Number gelu(Number x);
Number sin(Number x);
Number cos(Number x);
Number tan(Number x);
std::pair<Number, Number> sincos(Number x);
Number asin(Number x);
Number acos(Number x);
Number atan(Number x);
Number pow(Number x, Number y);

} // namespace llmopt::cpu::f32

#endif // LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONF32_H
