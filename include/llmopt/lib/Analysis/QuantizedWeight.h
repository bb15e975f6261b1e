//===- QuantizedWeight.h - which weights are codes and scales ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Importers write a quantized matrix as what it means: (code - zero) * scale, an expression over weights that is evaluated when the artifact is
// written. Kernels that take codes as they are find them here.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_QUANTIZEDWEIGHT_H
#define LLMOPT_LIB_ANALYSIS_QUANTIZEDWEIGHT_H

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Support/DType.h"

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>
#include <string>

namespace llmopt {

struct QuantizedWeight {
  /// What a kernel's code depends on.
  struct Format {
    int bits = 4;                ///< 4 or 8
    int64_t block = 0;           ///< inputs that share a scale: 16, 32 or a multiple of 64; 0: all
    DType scale = DType::F32;    ///< f32, bf16 or f16
    bool zeros = false;          ///< blocks have zero points of their own
    DType product = DType::BF16; ///< what products are made in: the model's own 16-bit type, if it has one
    int zero = 0;                ///< of all blocks where they have none of their own, as stored
    bool operator==(const Format &) const = default;
    /// "4 bits, blocks of 32, scales of f16, zero points".
    std::string str() const;
  };

  Format format;
  int64_t matrices = 1;            ///< one behind the other: those of experts
  int64_t outputs = 0, inputs = 0; ///< of a matrix
  int64_t rows() const { return matrices * outputs; }

  // Where the parts lie.
  mlir::Value codes, zeros, scales;             ///< `zeros` may be null
  llvm::SmallVector<int64_t> scaled, shifted;   ///< shapes that scales and zeros are broadcast to
  int64_t width = 0;                            ///< of a row of codes
  bool outputsFirst = true;
  int offset = 0;                               ///< of signed codes
};

/// `outputsFirst`: the matrix is [outputs, inputs], else [inputs, outputs]. Several: [matrices, outputs, inputs].
std::optional<QuantizedWeight> findQuantizedWeight(mlir::Value weight, bool outputsFirst);

/// How all weights of a kernel's projections are quantized; nothing where they are not, or differ.
std::optional<QuantizedWeight> quantizedAs(exec::KernelOp kernel);

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_QUANTIZEDWEIGHT_H
