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

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace llmopt::cuda {

/// Kernels of one translation unit (see README.md) and how to launch them; the modules are filled in when it is compiled.
struct KernelUnit {
  std::string source;
  std::vector<DeviceKernel> kernels;
  bool exact = false; ///< products and sums are not to be contracted
  std::string form = "cuda"; ///< what `source` is: CUDA C++; "ptx", "cubin" or "host" where there is less, or nothing, to compile
  std::string origin = {};   ///< the file it came from, where it was not made here
  const std::string &name() const { return kernels.front().name; }
};

/// The statements of a function, and what of the kernel ABI they use, by the names of `parameterName`. E0981 as below.
struct PrintedBody {
  std::string text;
  std::vector<DeviceParameter> parameters; ///< buffers first, in order
};
Result<PrintedBody> printBody(mlir::func::FuncOp function, unsigned indent);
/// "b3", "d0", "table".
std::string parameterName(const DeviceParameter &parameter);
/// "u8 *b3, u64 d0"; with `separator` ";" the fields of a struct.
std::string declareParameters(const std::vector<DeviceParameter> &parameters, const char *separator);
/// Constant tensors that functions of the module read.
std::string printGlobals(mlir::ModuleOp module);
/// A value that the text around a printed body defines.
mlir::Value namedValue(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type type, llvm::StringRef name);

/// E0981 names an operation the printer does not know.
Result<KernelUnit> printKernels(mlir::ModuleOp module);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PRINTER_H
