//===- LLMDecompose.cpp - composite operations in smaller ones ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt::llm;

FailureOr<SmallVector<Value>> LinearOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> EmbeddingOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> LayerNormOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> RMSNormOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> SoftmaxOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> RopeOp::decompose(OpBuilder &) { return failure(); }
FailureOr<SmallVector<Value>> AttentionOp::decompose(OpBuilder &) { return failure(); }
