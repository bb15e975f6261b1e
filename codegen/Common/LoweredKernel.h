//===- LoweredKernel.h - what lowering a kernel tells the plan --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_LOWEREDKERNEL_H
#define LLMOPT_CODEGEN_COMMON_LOWEREDKERNEL_H

#include "llmopt/lib/Analysis/SymExpr.h"
#include "llmopt/lib/Support/DType.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace llmopt {

/// One function made for a kernel: used while the selector is <= limit (0: always).
struct KernelVariant {
  std::string symbol;
  int64_t limit = 0;
  SymExpr units;        ///< number of work units
  SymExpr scratchBytes; ///< per thread; unknown means none
};

/// How a weight operand must lie in the artifact.
///   "row_major"  as stored
///   "panel16"    a matrix of N outputs by K inputs as [ceil(N / 16)][K][16], outputs beyond N zero (f32, f16)
///   "panel16x2"  the same for bf16: [ceil(N / 16)][ceil(K / 2)][16][2], k pairs together (vdpbf16ps order)
///   "panel16x4"  the same for i8: [ceil(N / 16)][ceil(K / 4)][16][4] (vpdpbusd order)
struct WeightLayout {
  std::string name = "row_major";
  bool outputsFirst = true; ///< the operand is [N, K]; false: [K, N] (llm.linear `transposed`)
};

struct LoweredKernel {
  std::vector<KernelVariant> variants;
  SymExpr selector;              ///< what the limits compare with (M); unknown where there is one variant
  std::vector<SymExpr> dims;     ///< dims read by all variants, in order (the leading unit count not included)
  std::map<unsigned, WeightLayout> weightLayouts; ///< by operand; others are row major
  std::vector<int64_t> states;   ///< key-value states bound after the outputs
  std::map<unsigned, SymExpr> outputBytes; ///< outputs that need more room than their shape says (padding)
  SymExpr flops, bytesMoved;     ///< for profiles
  DType arithmetic = DType::F32; ///< what the flops are done in
  /// A stage that follows with the same bindings, if there: a variant for each of `variants`. A buffer of `sharedBytes`, bound last, goes from one to the other.
  std::vector<KernelVariant> second;
  int64_t sharedBytes = 0;
  bool optimizeLoops = false;    ///< LLVM's -O2 pipeline wanted (plain loops); kernels unrolled by hand do not want it
};

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_LOWEREDKERNEL_H
