//===- UnitFiles.h - stages of a unit, out and back in ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --dump-dir writes what each unit is at each stage: UNIT.cu, UNIT.ptx, UNIT.cubin and UNIT.log, named after its first kernel. A folder
// with some of these files, changed by hand, is fed back with --kernel-override.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_UNITFILES_H
#define LLMOPT_CODEGEN_CUDA_UNITFILES_H

#include "codegen/CUDA/DeviceCompiler.h"

#include <set>

namespace llmopt::cuda {

Status dumpUnit(const std::string &folder, const KernelUnit &unit, const CompiledUnit &compiled);

/// Units that come from files instead. The latest stage that is there counts: cubin, then PTX, then text.
class UnitOverrides {
public:
  /// An empty name: none.
  static Result<UnitOverrides> open(const std::string &folder);
  bool empty() const { return files_.empty(); }
  /// Replaces what the unit is, if a file for it is there.
  Status apply(KernelUnit &unit);
  /// E0986 for files that no unit took: a wrong name would go unnoticed.
  Status checkAllUsed() const;

private:
  std::string folder_;
  std::set<std::string> files_, used_;
};

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_UNITFILES_H
