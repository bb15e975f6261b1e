//===- LLMNormalizationOps.td - normalization over the last dimension
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMNORMALIZATIONOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMNORMALIZATIONOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

def LLM_LayerNormOp : LLM_PureOp<"layer_norm", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "(x - mean) / sqrt(variance + epsilon) * scale + bias over the last dimension, in f32";
  let description = [{ Ba, Kiros, Hinton, arXiv:1607.06450. `scale` and `bias` are [D]. }];
  let arguments = (ins LLM_FloatTensor:$input, Optional<LLM_FloatTensor>:$scale, Optional<LLM_FloatTensor>:$bias, F32Attr:$epsilon);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`scale` $scale^ `:` type($scale))? (`bias` $bias^ `:` type($bias))? attr-dict `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_RMSNormOp : LLM_PureOp<"rms_norm", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "x / sqrt(mean(x^2) + epsilon) * (scale + offset) over the last dimension, in f32";
  let description = [{
    Zhang and Sennrich, arXiv:1910.07467. `scale` is [D]; `offset` is 0, or 1 for models that store the scale minus one
    (Gemma).
  }];
  let arguments = (ins LLM_FloatTensor:$input, Optional<LLM_FloatTensor>:$scale, F32Attr:$epsilon,
                       DefaultValuedAttr<F32Attr, "0.0f">:$offset);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = "$input (`scale` $scale^ `:` type($scale))? attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_SoftmaxOp : LLM_PureOp<"softmax", [SameOperandsAndResultType, DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "exp(x - max) / sum(exp(x - max)) along `axis` (not negative)";
  let arguments = (ins LLM_FloatTensor:$input, I64Attr:$axis);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMNORMALIZATIONOPS_TD
