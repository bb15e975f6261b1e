//===- Bf16Terms.h - f32 as sums of bf16 numbers ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A number in f32 is the sum of three in bf16, exactly (below 2^-110 but for what tile registers take as zero); of two it is with an error of 2^-16 of it at most, 2^-17 where the first
// one is rounded. Products of such sums in tile registers are as near as those in f32, or as those with 16 bits of mantissa. Henry, Tang, Heinecke: Leveraging the bfloat16 Artificial
// Intelligence Datatype For Higher-Precision Computations, 2019 (oneMKL: float_to_bf16x2, float_to_bf16x3).
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_BF16TERMS_H
#define LLMOPT_CODEGEN_CPU_BF16TERMS_H

#include "codegen/CPU/KernelBuilder.h"

#include <utility>

namespace llmopt::cpu {

/// The terms of a row's number and of a weight that are multiplied, in the order in which their products are added. Those left out are the smallest, at most
/// 2^-22 of the product with three terms (2^-26 as a rule) and 2^-15 with two (2^-18 as a rule), of either sign: 6 of 3 x 3 are
/// multiplied, 3 of 2 x 2, all with weights of one term.
llvm::SmallVector<std::pair<int64_t, int64_t>> termProducts(int64_t rowTerms, int64_t weightTerms);

/// Terms that a weight takes where rows are sums of `terms`: what is stored in bf16 is one, f16 has room in two.
int64_t weightTermsOf(mlir::Type element, int64_t terms);

/// The terms of a weight in f32 `x` (scalar or vector), the largest first; each is an f32 whose low half is zero. Those of an infinity are not numbers.
KernelBuilder::Values splitTerms(KernelBuilder &b, mlir::Value x, int64_t terms);
/// Those of a row's number: of two the first is rounded to nearest where that is finite, so that what is left out falls on both sides of zero.
KernelBuilder::Values splitRowTerms(KernelBuilder &b, mlir::Value x, int64_t terms);

/// Words (i32) of two terms each: of vectors of even and of odd inputs.
mlir::Value joinTerms(KernelBuilder &b, mlir::Value even, mlir::Value odd);
/// `words` words of the terms of a row's f32 numbers at `from`: those of each term `termWords` behind those of the term before. `ordered`: puts halves into another order than that
/// of inputs.
void storeTerms(KernelBuilder &b, mlir::Value from, int64_t words, int64_t terms, mlir::Value to, mlir::Value termWords,
                llvm::function_ref<mlir::Value(mlir::Value halves)> ordered = nullptr);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_BF16TERMS_H
