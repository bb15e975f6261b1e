//===- WeightTypes.h - number formats of weights -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_WEIGHTTYPES_H
#define LLMOPT_PASSES_WEIGHTTYPES_H

#include "mlir/Pass/Pass.h"

#include <memory>

namespace llmopt {

/// `llmopt-convert-weight-types`: casts matrices read by llm.linear and llm.embedding to `matrixType` (null: as stored), and
/// vectors read by composite operations on f32 (scales, biases) to f32. The casts are on weights alone, so they cost
/// nothing at run time.
std::unique_ptr<mlir::Pass> createConvertWeightTypesPass(mlir::Type matrixType);

} // namespace llmopt

#endif // LLMOPT_PASSES_WEIGHTTYPES_H
