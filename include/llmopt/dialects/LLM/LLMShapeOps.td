//===- LLMShapeOps.td - the same elements in another shape or order
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMSHAPEOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMSHAPEOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

// Operands that name sizes (`shape`, `starts`, `ends`, `repeats`, `pads`) are ordinary tensors. The shape analysis
// solves them to symbolic expressions where it can; where it cannot, the kernel reads them at run time, and then the
// result type must have been known otherwise.

def LLM_ShapeOp : LLM_PureOp<"shape"> {
  let summary = "The dimensions of a tensor as an i64 vector";
  let arguments = (ins LLM_Tensor:$input);
  let results = (outs 1DTensorOf<[I64]>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
}

def LLM_ReshapeOp : LLM_PureOp<"reshape"> {
  let summary = "The same elements in row-major order under another shape";
  let description = [{
    As ONNX Reshape: one entry of `shape` may be -1 (whatever is left), 0 copies the input's dimension at that place
    unless `allowzero` is set.
  }];
  let arguments = (ins LLM_Tensor:$input, LLM_IndexVector:$shape, UnitAttr:$allowzero);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $shape attr-dict `:` type($input) `,` type($shape) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_ExpandDimsOp : LLM_PureOp<"expand_dims"> {
  let summary = "Inserts dimensions of size 1; `axes` count in the result, sorted, not negative";
  let arguments = (ins LLM_Tensor:$input, DenseI64ArrayAttr:$axes);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `axes` `=` $axes attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_SqueezeOp : LLM_PureOp<"squeeze"> {
  let summary = "Removes dimensions of size 1; `axes` count in the input, sorted, not negative";
  let arguments = (ins LLM_Tensor:$input, DenseI64ArrayAttr:$axes);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `axes` `=` $axes attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_FlattenOp : LLM_PureOp<"flatten"> {
  let summary = "A matrix: dimensions before `axis` joined, dimensions from `axis` on joined";
  let arguments = (ins LLM_Tensor:$input, I64Attr:$axis);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_TransposeOp : LLM_PureOp<"transpose"> {
  let summary = "Result dimension i is input dimension permutation[i]";
  let arguments = (ins LLM_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `permutation` `=` $permutation attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_BroadcastOp : LLM_PureOp<"broadcast"> {
  let summary = "Repeats size-1 dimensions; the result shape is the broadcast of the input's shape and `shape` (ONNX Expand)";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexVector:$shape);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $shape attr-dict `:` type($input) `,` type($shape) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_TileOp : LLM_PureOp<"tile"> {
  let summary = "Repeats the whole tensor `repeats[i]` times along dimension i";
  let arguments = (ins LLM_Tensor:$input, LLM_IndexVector:$repeats);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input `,` $repeats attr-dict `:` type($input) `,` type($repeats) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_SliceOp : LLM_PureOp<"slice"> {
  let summary = "Elements starts[i] : ends[i] : steps[i] of dimension axes[i]";
  let description = [{
    Python's rules: negative starts and ends count from the end, both are clamped to the dimension; steps are not zero
    and may be negative. `axes` are distinct and not negative.
  }];
  let arguments = (ins LLM_Tensor:$input, LLM_IndexVector:$starts, LLM_IndexVector:$ends, DenseI64ArrayAttr:$axes,
                       DenseI64ArrayAttr:$steps);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = [{
    $input `,` $starts `,` $ends `axes` `=` $axes `steps` `=` $steps attr-dict
    `:` type($input) `,` type($starts) `,` type($ends) `->` type($result)
  }];
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_ConcatOp : LLM_PureOp<"concat"> {
  let summary = "Joins tensors along one dimension";
  let arguments = (ins Variadic<LLM_Tensor>:$inputs, I64Attr:$axis);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$inputs attr-dict `:` type($inputs) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_PadMode : I32EnumAttr<"PadMode", "padding", [
    I32EnumAttrCase<"constant", 0>, I32EnumAttrCase<"reflect", 1>, I32EnumAttrCase<"edge", 2>,
    I32EnumAttrCase<"wrap", 3>]> {
  let cppNamespace = "::llmopt::llm";
  let genSpecializedAttr = 0;
}
def LLM_PadModeAttr : EnumAttr<LLM_Dialect, LLM_PadMode, "pad_mode">;

def LLM_PadOp : LLM_PureOp<"pad"> {
  let summary = "Adds elements around a tensor";
  let description = [{
    `pads` holds, for a tensor of rank r, the r counts before each dimension and then the r counts after it; negative
    counts remove elements (mode `constant` only). `value` is a scalar (rank 0) of the input's element type.
  }];
  let arguments = (ins LLM_PadModeAttr:$mode, LLM_Tensor:$input, LLM_IndexVector:$pads, LLM_Tensor:$value);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$mode $input `,` $pads `,` $value attr-dict `:` type($input) `,` type($pads) `,` type($value) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def LLM_RangeOp : LLM_PureOp<"range"> {
  let summary = "start, start + delta, ... up to but without limit (ONNX Range); the operands are scalars (rank 0)";
  let arguments = (ins LLM_Tensor:$start, LLM_Tensor:$limit, LLM_Tensor:$delta);
  let results = (outs 1DTensorOf<[LLM_Element]>:$result);
  let assemblyFormat = "$start `,` $limit `,` $delta attr-dict `:` type($start) `,` type($limit) `,` type($delta) `->` type($result)";
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMSHAPEOPS_TD
