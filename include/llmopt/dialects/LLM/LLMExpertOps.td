//===- LLMExpertOps.td - mixture of experts
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMEXPERTOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMEXPERTOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

// A routed layer (Shazeer et al., arXiv:1701.06538) is a router, in ordinary operations, and products with the weights of the experts that
// each token has chosen:
//
//   %p = llm.softmax (llm.linear %x, %router)                 router, normalized before top-k (Mixtral, Qwen) or after it
//   %w, %e = llm.topk %p, 2                                   weights and experts of T tokens, [T, 2]
//   %order, %offsets = llm.group_rows %e {experts = 8}
//   %h = silu(llm.grouped_linear %x, %gate, %order, %offsets) * llm.grouped_linear %x, %up, %order, %offsets     [T, 2, F]
//   %y = llm.reduce sum axes = [1] (llm.grouped_linear %h, %down, %order, %offsets * %w)

def LLM_GroupRowsOp : LLM_PureOp<"group_rows", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "Sorts the rows of a routed layer by expert, equal ones as they were";
  let description = [{
    `chosen` [T, k] says which of `experts` experts row t * k + j is for; numbers outside are clamped. `order` [T, k] holds all row numbers,
    those of expert e at places offsets[e] to offsets[e + 1] - 1; `offsets` is i32 [experts + 1].
  }];
  let arguments = (ins LLM_IndexTensor:$chosen, I64Attr:$experts);
  let results = (outs RankedTensorOf<[I32]>:$order, 1DTensorOf<[I32]>:$offsets);
  let assemblyFormat = "$chosen attr-dict `:` type($chosen) `->` type($order) `,` type($offsets)";
  let hasVerifier = 1;
}

def LLM_GroupedLinearOp : LLM_PureOp<"grouped_linear", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "x W[e]^T for each row, where e is the row's expert; accumulates in f32";
  let description = [{
    `input` [T, K], each row used k times, or [T, k, K]; `weight` [E, N, K]; `order` [T, k] and `offsets` [E + 1] of `llm.group_rows`; result
    [T, k, N] in the input's element type. The weight may have its own element type. Only the weights of experts that have rows are read.
  }];
  let arguments = (ins LLM_FloatTensor:$input, LLM_FloatTensor:$weight, RankedTensorOf<[I32]>:$order, 1DTensorOf<[I32]>:$offsets);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight `,` $order `,` $offsets attr-dict `:` type($input) `,` type($weight) `,` type($order) `,` type($offsets) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMEXPERTOPS_TD
