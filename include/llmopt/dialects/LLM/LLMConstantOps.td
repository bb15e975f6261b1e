//===- LLMConstantOps.td - values known when compiling
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMCONSTANTOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMCONSTANTOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

def LLM_ConstantOp : LLM_PureOp<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A small constant, its elements held in the IR";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def LLM_WeightOp : LLM_PureOp<"weight"> {
  let summary = "A tensor of the model, its bytes held in the weight store under this name";
  let description = [{
    The IR never holds weight bytes. `name` is the key in the `WeightStore` that the frontend filled; the type is the
    stored type. Expressions over weights alone (transpose, concat, cast, slice) are evaluated when the artifact is written.
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

#endif // LLMOPT_DIALECTS_LLM_LLMCONSTANTOPS_TD
