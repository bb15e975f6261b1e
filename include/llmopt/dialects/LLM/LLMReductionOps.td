//===- LLMReductionOps.td - many elements to one
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMREDUCTIONOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMREDUCTIONOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

def LLM_ReduceKind : I32EnumAttr<"ReduceKind", "reduction", [
    I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"mean", 1>, I32EnumAttrCase<"max", 2>,
    I32EnumAttrCase<"min", 3>, I32EnumAttrCase<"prod", 4>]> {
  let cppNamespace = "::llmopt::llm";
  let genSpecializedAttr = 0;
}
def LLM_ReduceKindAttr : EnumAttr<LLM_Dialect, LLM_ReduceKind, "reduce_kind">;

def LLM_ReduceOp : LLM_PureOp<"reduce"> {
  let summary = "Reduces the dimensions in `axes` (sorted, not negative); `keepdims` leaves them with size 1";
  let description = [{
    Sums and means of f16 and bf16 accumulate in f32. The reduction of no elements is 0 (sum), 1 (prod), the lowest
    (max) or highest (min) value of the type; i1 reduces by or (max) and and (min).
  }];
  let arguments = (ins LLM_ReduceKindAttr:$kind, LLM_Tensor:$input, DenseI64ArrayAttr:$axes, UnitAttr:$keepdims);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$kind $input `axes` `=` $axes attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_ArgReduceOp : LLM_PureOp<"arg_reduce"> {
  let summary = "Index (i64) of the largest (`max`) or smallest (`min`) element along `axis`";
  let description = [{ The first of equal elements, or with `last` the last. `kind` is max or min. }];
  let arguments = (ins LLM_ReduceKindAttr:$kind, LLM_Tensor:$input, I64Attr:$axis, UnitAttr:$keepdims, UnitAttr:$last);
  let results = (outs RankedTensorOf<[I64]>:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMREDUCTIONOPS_TD
