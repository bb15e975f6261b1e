//===- AttentionRope.h - rotary positions inside a kernel -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ATTENTIONROPE_H
#define LLMOPT_CODEGEN_CPU_ATTENTIONROPE_H

#include "codegen/CPU/AttentionStep.h"

namespace llmopt::cpu {

/// Copies heads of `headSize` floats, rotated where the source has a rope.
class HeadCopier {
public:
  /// `table`: scratch memory for tableElements() floats.
  HeadCopier(KernelBuilder &b, const HeadsSource &source, int64_t headSize, int64_t lanes, mlir::Value table);
  static int64_t tableElements(const HeadsSource &source, int64_t lanes);

  /// Cosines and sines of a token; needed before its heads are copied.
  void startToken(mlir::Value token);
  /// Copies one head of the started token to `to`, multiplied by `scale`.
  void copy(mlir::Value from, mlir::Value to, double scale);

private:
  void rotate(mlir::Value from, mlir::Value to, mlir::Value pair, int64_t lanes, double scale);
  KernelBuilder &b_;
  HeadsSource source_;
  int64_t headSize_, lanes_, pairs_ = 0;
  mlir::Value table_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ATTENTIONROPE_H
