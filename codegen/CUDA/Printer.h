//===- Printer.h - kernel functions as CUDA C++ -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Takes functions of the kernel ABI as KernelBuilder writes them (scf, arith, math, vector, LLVM pointers) and prints each as a
// __global__ function whose threads deal out the work units one by one. What the ABI reads from KernelArgs becomes parameters.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PRINTER_H
#define LLMOPT_CODEGEN_CUDA_PRINTER_H

#include "llmopt/lib/Artifact/DeviceCode.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace llmopt::cuda {

/// Kernels of one translation unit (see README.md) and how to launch them; the modules are filled in when it is compiled.
struct KernelUnit {
  std::string source;
  std::vector<DeviceKernel> kernels;
  bool exact = false; ///< products and sums are not to be contracted
};

/// E0960 names an operation the printer does not know.
Result<KernelUnit> printKernels(mlir::ModuleOp module);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PRINTER_H
