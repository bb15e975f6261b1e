//===- KernelFamily.h - what a kernel generator takes and gives -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A family turns one `exec.kernel` region, its strategy chosen, into functions of the kernel ABI. Families are listed in
// Families.def; each is one folder or file here. The bindings of a kernel are its inputs, its outputs, and then the
// key-value states it touches, in that order.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_KERNELFAMILY_H
#define LLMOPT_CODEGEN_CPU_KERNELFAMILY_H

#include "codegen/CPU/KernelBuilder.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include <map>
#include <string>
#include <vector>

namespace llmopt::cpu {

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
  bool optimizeLoops = false;    ///< LLVM's -O2 pipeline wanted (plain loops); kernels unrolled by hand do not want it
};

/// What a family gets besides the kernel.
struct FamilyContext {
  mlir::ModuleOp module;     ///< functions are added here
  ShapeAnalysis &shapes;     ///< knows every value of the kernel's region
  const Target &target;
  std::string symbol;        ///< prefix for function names, unique
};

/// Dims are numbered per kernel, so all variants of a kernel must ask for them in the same order: pass the list on.
using LowerKernel = Result<LoweredKernel> (*)(exec::KernelOp kernel, FamilyContext &context);

/// Finds the generator by the kernel's `family` attribute; null if there is none.
LowerKernel findFamily(llvm::StringRef name);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_KERNELFAMILY_H
