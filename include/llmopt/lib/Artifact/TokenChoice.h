//===- TokenChoice.h - how a device draws tokens ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_TOKENCHOICE_H
#define LLMOPT_LIB_ARTIFACT_TOKENCHOICE_H

#include <cstdint>

namespace llmopt {

/// How the token behind one row of logits is drawn; runtime/Sampler.h says what the numbers mean. codegen/CUDA/kernels/sample.cuh has the same bytes.
struct TokenChoice {
  double temperature = 0; ///< 0: the greatest logit, lowest id first
  double topP = 1, minP = 0;
  double point = 0; ///< the random number, in [0, 1)
  int64_t topK = 0;
};

/// Kernel (const float *logits, i64 rows, i64 width, const TokenChoice *choices, i32 *tokens), a block a row; -1 where no logit is a number.
inline constexpr const char *kSampleKernel = "llmopt_sample";

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_TOKENCHOICE_H
