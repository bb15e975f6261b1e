//===- TensorAxis.h - parts of tensors along one axis -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_TENSORAXIS_H
#define LLMOPT_RUNTIME_CORE_TENSORAXIS_H

#include "llmopt/lib/Support/Tensor.h"

#include <span>

namespace llmopt {

/// The tensor's slices `rows` along an axis, in that order.
Tensor takeRows(const Tensor &tensor, size_t axis, std::span<const uint32_t> rows);
/// Positions [begin, begin + count) along an axis.
Tensor slice(const Tensor &tensor, size_t axis, size_t begin, size_t count);
/// The same numbers as f32.
Tensor toF32(Tensor &tensor);
/// Stores a number in the tensor's type.
void setElement(Tensor &tensor, size_t index, int64_t value);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_TENSORAXIS_H
