//===- LLMIndexingOps.td - elements chosen by index tensors, and scans
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMINDEXINGOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMINDEXINGOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

// Indices may be negative (counting from the end). An index outside the dimension is clamped to it: kernels never read
// outside a buffer.

def LLM_GatherOp : LLM_PureOp<"gather"> {
  let summary = "Slices of `input` along `axis` at `indices`: shape input[:axis] ++ indices.shape ++ input[axis+1:]";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexTensor:$indices, I64Attr:$axis);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $indices attr-dict `:` type($input) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_GatherElementsOp : LLM_PureOp<"gather_elements"> {
  let summary = "result[i..] = input[i.. with indices[i..] at `axis`]; the result has the shape of `indices`";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexTensor:$indices, I64Attr:$axis);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $indices attr-dict `:` type($input) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_GatherNDOp : LLM_PureOp<"gather_nd"> {
  let summary = "Slices of `input` at the index tuples in the last dimension of `indices` (ONNX GatherND)";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexTensor:$indices, I64Attr:$batch_dims);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $indices attr-dict `:` type($input) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_ScatterReduction : I32EnumAttr<"ScatterReduction", "how an update meets the old element", [
    I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"add", 1>, I32EnumAttrCase<"mul", 2>,
    I32EnumAttrCase<"max", 3>, I32EnumAttrCase<"min", 4>]> {
  let cppNamespace = "::llmopt::llm";
  let genSpecializedAttr = 0;
}
def LLM_ScatterReductionAttr : EnumAttr<LLM_Dialect, LLM_ScatterReduction, "scatter_reduction">;

def LLM_ScatterElementsOp : LLM_PureOp<"scatter_elements"> {
  let summary = "A copy of `input` with updates[i..] put at [i.. with indices[i..] at `axis`], in index order";
  let arguments = (ins LLM_ScatterReductionAttr:$reduction, LLM_Tensor:$input, LLM_IndexTensor:$indices,
                       LLM_Tensor:$updates, I64Attr:$axis);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = [{
    $reduction $input `,` $indices `,` $updates attr-dict `:` type($input) `,` type($indices) `,` type($updates) `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_ScatterNDOp : LLM_PureOp<"scatter_nd"> {
  let summary = "A copy of `input` with slices of `updates` put at the index tuples in the last dimension of `indices`";
  let arguments = (ins LLM_ScatterReductionAttr:$reduction, LLM_Tensor:$input, LLM_IndexTensor:$indices, LLM_Tensor:$updates);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = [{
    $reduction $input `,` $indices `,` $updates attr-dict `:` type($input) `,` type($indices) `,` type($updates) `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_CumSumOp : LLM_PureOp<"cumsum"> {
  let summary = "Running sum along `axis`; `exclusive` leaves the element itself out, `reverse` runs from the end";
  let arguments = (ins LLM_Tensor:$input, I64Attr:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_TopKOp : LLM_PureOp<"topk"> {
  let summary = "The k largest (or smallest) elements along `axis`, sorted, equal ones by lower index; values and i64 indices";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexVector:$k, I64Attr:$axis, BoolAttr:$largest);
  let results = (outs LLM_Tensor:$values, RankedTensorOf<[I64]>:$indices);
  let assemblyFormat = "$input `,` $k attr-dict `:` type($input) `,` type($k) `->` type($values) `,` type($indices)";
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMINDEXINGOPS_TD
