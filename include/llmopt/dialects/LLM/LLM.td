//===- LLM.td - index of the llm dialect -------------------*- tablegen -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLM_TD
#define LLMOPT_DIALECTS_LLM_LLM_TD

include "llmopt/dialects/LLM/LLMBase.td"
include "llmopt/dialects/LLM/LLMConstantOps.td"
include "llmopt/dialects/LLM/LLMElementwiseOps.td"
include "llmopt/dialects/LLM/LLMShapeOps.td"
include "llmopt/dialects/LLM/LLMIndexingOps.td"
include "llmopt/dialects/LLM/LLMReductionOps.td"
include "llmopt/dialects/LLM/LLMMatMulOps.td"
include "llmopt/dialects/LLM/LLMNormalizationOps.td"
include "llmopt/dialects/LLM/LLMAttentionOps.td"
include "llmopt/dialects/LLM/LLMExpertOps.td"

#endif // LLMOPT_DIALECTS_LLM_LLM_TD
