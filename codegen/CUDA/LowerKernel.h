//===- LowerKernel.h - an exec.kernel region for a GPU ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_LOWERKERNEL_H
#define LLMOPT_CODEGEN_CUDA_LOWERKERNEL_H

#include "codegen/CUDA/Printer.h"
#include "codegen/Common/LoweredKernel.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Target/Target.h"

namespace llmopt::cuda {

/// What the plan needs and the text of the kernel's functions.
struct LoweredDeviceKernel {
  LoweredKernel plan;
  KernelUnit unit;
};

/// `symbol` is a name that no other kernel has. `text`: as CUDA C++, by a written family where one fits; else as PTX. E0921 where no family takes
/// the region.
Result<LoweredDeviceKernel> lowerKernel(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol, bool text);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_LOWERKERNEL_H
