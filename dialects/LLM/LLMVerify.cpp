//===- LLMVerify.cpp - verifiers of the llm dialect -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt::llm;

LogicalResult LinearOp::verify() { return success(); }
LogicalResult EmbeddingOp::verify() { return success(); }
LogicalResult LayerNormOp::verify() { return success(); }
LogicalResult RMSNormOp::verify() { return success(); }
LogicalResult SoftmaxOp::verify() { return success(); }
LogicalResult RopeOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }
LogicalResult CacheAppendOp::verify() { return success(); }
LogicalResult PagedAttentionOp::verify() { return success(); }
