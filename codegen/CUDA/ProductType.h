//===- ProductType.h - what attention may round to --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PRODUCTTYPE_H
#define LLMOPT_CODEGEN_CUDA_PRODUCTTYPE_H

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Support/DType.h"

#include "mlir/IR/BuiltinOps.h"

#include <optional>

namespace llmopt::cuda {

/// What the model's linear layers round their operands to, if that is one 16-bit type: attention may round to it as well.
std::optional<DType> productType(mlir::ModuleOp planned);

/// Whether written kernels take all that touches the cache: none other knows how one of 16 bits lies on a GPU.
bool takesNarrowCache(mlir::ModuleOp planned);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PRODUCTTYPE_H
