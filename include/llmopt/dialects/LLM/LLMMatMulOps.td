//===- LLMMatMulOps.td - contractions
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMMATMULOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMMATMULOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

def LLM_MatMulOp : LLM_PureOp<"matmul"> {
  let summary = "NumPy matmul: [.., M, K] x [.., K, N], leading dimensions broadcast";
  let description = [{
    A rank-1 operand is a row (left) or column (right) whose dimension is dropped from the result. Integer operands
    give i32 (ONNX MatMulInteger after zero points are taken off) or their own type; floats accumulate in f32 (f64: f64).
  }];
  let arguments = (ins LLM_Tensor:$lhs, LLM_Tensor:$rhs);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_LinearOp : LLM_PureOp<"linear", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "x W^T + b, or x W + b with `transposed`; accumulates in f32";
  let description = [{
    `input` [.., K]; `weight` [N, K] (Hugging Face order), or [K, N] with `transposed` (GPT-2's Conv1D, ONNX MatMul);
    `bias` [N]; result [.., N] in the input's element type. The weight may have its own element type (bf16 under f32).
  }];
  let arguments = (ins LLM_FloatTensor:$input, LLM_FloatTensor:$weight, Optional<LLM_FloatTensor>:$bias, UnitAttr:$transposed);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`,` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_EmbeddingOp : LLM_PureOp<"embedding", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "Rows of `table` [V, D] at `ids` [..]; result [.., D]; the table may be narrower than the result type";
  let arguments = (ins LLM_IndexTensor:$ids, LLM_FloatTensor:$table);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($result)";
  let hasVerifier = 1;
}

def LLM_ConvOp : LLM_PureOp<"conv"> {
  let summary = "Convolution over 1 or 2 spatial dimensions: input [B, C, spatial], weight [M, C/groups, kernel], bias [M]";
  let description = [{ `pads` holds the counts before each spatial dimension and then those after it. Result [B, M, spatial]. }];
  let arguments = (ins LLM_FloatTensor:$input, LLM_FloatTensor:$weight, Optional<LLM_FloatTensor>:$bias,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations, I64Attr:$groups);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`,` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_WindowsOp : LLM_PureOp<"windows"> {
  let summary = "im2col: what each step of a convolution sees, as a row: input [B, spatial, C], result [B, out, product(kernel) * C]";
  let description = [{
    A row has the positions of the kernel in row-major order, all channels at each of them; zeros where a position lies outside of the input. `pads` are
    counted as those of llm.conv, and so is `out`.
  }];
  let arguments = (ins LLM_FloatTensor:$input, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = "$input `kernel` `=` $kernel attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMMATMULOPS_TD
