//===- ElementwiseNarrow.h - floats of at most 8 bits ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ELEMENTWISENARROW_H
#define LLMOPT_CODEGEN_CPU_ELEMENTWISENARROW_H

#include "codegen/CPU/KernelBuilder.h"

#include "llmopt/lib/Support/DType.h"

namespace llmopt::cpu {

/// The format of an element type of at most 8 bits; null for others.
const NarrowFloat *narrowFormat(mlir::Type elementType);

/// i8 codes to f32, scalar or vector.
mlir::Value decodeNarrow(KernelBuilder &b, const NarrowFloat &format, mlir::Value codes);
/// f32 to i8 codes; see NarrowFloat::encode.
mlir::Value encodeNarrow(KernelBuilder &b, const NarrowFloat &format, mlir::Value values, bool saturate);

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ELEMENTWISENARROW_H
