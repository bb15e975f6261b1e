//===- MathApproximation.h - functions without a library --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Generated code may not have undefined symbols, and LLVM turns `math.*` on vectors into one library call a lane. So the
// functions of f32 are polynomials and rational forms here, at most about four units in the last place off over
// the whole range; those of f64 go through the scalar function table, lane by lane.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_MATHAPPROXIMATION_H
#define LLMOPT_CODEGEN_CPU_MATHAPPROXIMATION_H

#include "codegen/CPU/KernelBuilder.h"

namespace llmopt::cpu {

/// A function of f32 or f64 scalars or vectors; `y` for functions of two arguments.
mlir::Value emitMath(KernelBuilder &b, ScalarFunctionId id, mlir::Value x, mlir::Value y = {});

/// log(1 + x), accurate near 0.
mlir::Value emitLog1p(KernelBuilder &b, mlir::Value x);
mlir::Value emitSigmoid(KernelBuilder &b, mlir::Value x);
mlir::Value emitSilu(KernelBuilder &b, mlir::Value x);
mlir::Value emitSoftplus(KernelBuilder &b, mlir::Value x);
mlir::Value emitGelu(KernelBuilder &b, mlir::Value x, bool tanh);
/// The same for vectors of 16 f32 on AVX-512, with coefficients from tables in registers: half the instructions. Errors are below 3e-8;
/// `rough`: below 1.5e-5, for results that are rounded to bf16.
mlir::Value emitGeluByTable(KernelBuilder &b, mlir::Value x, bool tanh, bool rough = false);

enum class Rounding { Floor, Ceil, Nearest, Truncate };
/// To an integral float. Own arithmetic: LLVM calls libm for it on targets without SSE4.1.
mlir::Value emitRound(KernelBuilder &b, Rounding mode, mlir::Value x);

/// Sine and cosine of the same f32 argument (one range reduction), for rotary positions.
std::pair<mlir::Value, mlir::Value> emitSinCos(KernelBuilder &b, mlir::Value x);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_MATHAPPROXIMATION_H
