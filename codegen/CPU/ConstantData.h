//===- ConstantData.h - constant tensors in the code section ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_CONSTANTDATA_H
#define LLMOPT_CODEGEN_CPU_CONSTANTDATA_H

#include "codegen/CPU/KernelBuilder.h"

#include "mlir/IR/BuiltinAttributes.h"

namespace llmopt::cpu {

/// Puts the elements of a constant into `module` as private read-only data, in the memory form of tensors, and returns
/// their address (at the function's start).
mlir::Value constantData(KernelBuilder &b, mlir::ModuleOp module, mlir::ElementsAttr value, const std::string &symbol);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_CONSTANTDATA_H
