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
/// F32 or F16 for the states of decoders. Those of encoders stay f32: they are written once and read by every token.
void setCacheType(mlir::ModuleOp module, DType type);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_CACHETYPE_H
