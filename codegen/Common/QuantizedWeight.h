//===- QuantizedWeight.h - which weights are codes and scales ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Importers write a quantized matrix as what it means: (code - zero) * scale, an expression over weights that is evaluated when the artifact is
// written. Kernels that take codes as they are find them here.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_COMMON_QUANTIZEDWEIGHT_H
#define LLMOPT_CODEGEN_COMMON_QUANTIZEDWEIGHT_H

#include "codegen/Common/QuantizedPanels.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Support/Tensor.h"

#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace llmopt {

struct QuantizedWeight {
  QuantizedPanels panels;
  DType product = DType::BF16; ///< what products are made in: the model's own 16-bit type, if it has one
  int zero = 0;                ///< of all blocks where they have none of their own, as stored
  int64_t outputs = 0, inputs = 0;

  /// Everything a kernel's code depends on.
  std::string key() const { return panels.layout() + " " + std::string(dtypeName(product)) + " " + std::to_string(zero); }
  bool operator==(const QuantizedWeight &other) const { return key() == other.key(); }

  /// Evaluates its parts and packs them.
  Status pack(llvm::function_ref<Result<Tensor>(mlir::Value)> evaluate, std::span<std::byte> packed) const;

  // Where the parts lie.
  mlir::Value codes, zeros, scales;             ///< `zeros` may be null
  llvm::SmallVector<int64_t> scaled, shifted;   ///< shapes that scales and zeros are broadcast to
  int64_t width = 0;                            ///< of a row of codes
  bool outputsFirst = true;
  int offset = 0;                               ///< of signed codes
};

/// `outputsFirst`: the matrix is [outputs, inputs], else [inputs, outputs].
std::optional<QuantizedWeight> findQuantizedWeight(mlir::Value weight, bool outputsFirst);

/// How all weights of a kernel's projections are quantized; nothing where they are not, or differ.
std::optional<QuantizedWeight> quantizedAs(exec::KernelOp kernel);

} // namespace llmopt

#endif // LLMOPT_CODEGEN_COMMON_QUANTIZEDWEIGHT_H
