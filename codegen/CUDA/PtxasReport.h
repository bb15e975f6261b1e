//===- PtxasReport.h - the gate behind ptxas --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PTXASREPORT_H
#define LLMOPT_CODEGEN_CUDA_PTXASREPORT_H

#include "codegen/CUDA/Printer.h"
#include "llmopt/lib/Target/Target.h"

namespace llmopt::cuda {

/// Reads registers and spills out of what `ptxas -v` wrote, into the unit's kernels. E0984 for what would ruin a kernel's speed without a
/// word at run time: more than a few bytes of local memory and the C75xx warnings in written kernels (printed ones may keep arrays there), more shared memory than
/// a block can have in any.
Status checkPtxasReport(std::string_view log, KernelUnit &unit, const Target &target);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PTXASREPORT_H
