//===- KernelJoins.h - why operations share a kernel ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_KERNELJOINS_H
#define LLMOPT_PASSES_KERNELJOINS_H

#include "mlir/Pass/Pass.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmopt {

struct KernelJoinInfo {
  const char *name, *summary;
};
std::span<const KernelJoinInfo> allKernelJoins();
bool isKernelJoin(llvm::StringRef name);

/// Functions that `llmopt-cut-kernels{count-joins}` saw carry how many of their kernels each join made. Fails (E0551) unless those of the
/// module together are as many as `require` says ("join-norm", "join-norm:12"; other names are left to the fusions).
std::unique_ptr<mlir::Pass> createRequireJoinsPass(std::vector<std::string> require);

} // namespace llmopt

#endif // LLMOPT_PASSES_KERNELJOINS_H
