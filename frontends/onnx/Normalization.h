//===- Normalization.h - shared by normalizing operators --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_NORMALIZATION_H
#define LLMOPT_FRONTENDS_ONNX_NORMALIZATION_H

#include "Node.h"

namespace llmopt::onnx {

/// Mean and inverse deviation are there only when they were wanted.
struct Normalized {
  Value result, mean, inverse;
};

/// Over the dimensions from `axis` on. One operation where the dialect has it, otherwise the formula in f32.
Normalized layerNorm(Emitter &e, Value x, Value scale, Value bias, double epsilon, int64_t axis, bool wantsStatistics);
Normalized rmsNorm(Emitter &e, Value x, Value scale, double epsilon, int64_t axis, bool wantsStatistics);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_NORMALIZATION_H
