//===- QuantizedPacking.h - codes and scales as kernels read them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_QUANTIZEDPACKING_H
#define LLMOPT_CODEGEN_COMMON_QUANTIZEDPACKING_H

#include "codegen/Common/QuantizedPanels.h"
#include "llmopt/lib/Analysis/QuantizedWeight.h"
#include "llmopt/lib/Support/Tensor.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace llmopt {

QuantizedPanels panelsOf(const QuantizedWeight &weight, CodeOrder order = CodeOrder::Fragments);

/// The format in one word and two: "panel16q4b32f32z bf16 8".
std::string keyOf(const QuantizedWeight &weight);

/// Evaluates the weight's parts and packs them.
Status packQuantized(const QuantizedWeight &weight, const QuantizedPanels &panels, llvm::function_ref<Result<Tensor>(mlir::Value)> evaluate,
                     std::span<std::byte> packed);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_QUANTIZEDPACKING_H
