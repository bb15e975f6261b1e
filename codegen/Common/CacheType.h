//===- CacheType.h - the number format of the key-value cache ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_CACHETYPE_H
#define LLMOPT_CODEGEN_COMMON_CACHETYPE_H

#include "llmopt/lib/Support/DType.h"

#include "mlir/IR/BuiltinOps.h"

namespace llmopt {

/// How the state that a cache_append writes or a paged_attention reads is stored: f32, or what the attribute `llm.cache_type` says.
DType cacheTypeOf(mlir::Operation *op);
/// F32, F16 or BF16 for the states of decoders and for those of encoders.
void setCacheType(mlir::ModuleOp module, DType decoders, DType encoders = DType::F32);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_CACHETYPE_H
