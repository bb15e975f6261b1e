//===- LLMElementwiseOps.td - one result element from the operand elements at its index
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMELEMENTWISEOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMELEMENTWISEOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

class LLM_UnaryOp<string mnemonic, string formula, Type type = LLM_FloatTensor>
    : LLM_PureOp<mnemonic, [LLM_Elementwise, SameOperandsAndResultType]> {
  let summary = formula;
  let arguments = (ins type:$input);
  let results = (outs type:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

def LLM_NegOp : LLM_UnaryOp<"neg", "-x", LLM_Tensor> { let hasFolder = 1; }
def LLM_AbsOp : LLM_UnaryOp<"abs", "|x|", LLM_Tensor> { let hasFolder = 1; }
def LLM_SignOp : LLM_UnaryOp<"sign", "-1, 0 or 1; NaN stays NaN", LLM_Tensor>;
def LLM_ExpOp : LLM_UnaryOp<"exp", "e to the power of x">;
def LLM_LogOp : LLM_UnaryOp<"log", "natural logarithm">;
def LLM_SqrtOp : LLM_UnaryOp<"sqrt", "square root">;
def LLM_RsqrtOp : LLM_UnaryOp<"rsqrt", "1 / sqrt(x)">;
def LLM_ReciprocalOp : LLM_UnaryOp<"reciprocal", "1 / x">;
def LLM_SinOp : LLM_UnaryOp<"sin", "sine of radians">;
def LLM_CosOp : LLM_UnaryOp<"cos", "cosine of radians">;
def LLM_TanOp : LLM_UnaryOp<"tan", "tangent of radians">;
def LLM_AsinOp : LLM_UnaryOp<"asin", "inverse sine">;
def LLM_AcosOp : LLM_UnaryOp<"acos", "inverse cosine">;
def LLM_AtanOp : LLM_UnaryOp<"atan", "inverse tangent">;
def LLM_SinhOp : LLM_UnaryOp<"sinh", "hyperbolic sine">;
def LLM_CoshOp : LLM_UnaryOp<"cosh", "hyperbolic cosine">;
def LLM_AsinhOp : LLM_UnaryOp<"asinh", "inverse hyperbolic sine">;
def LLM_AcoshOp : LLM_UnaryOp<"acosh", "inverse hyperbolic cosine">;
def LLM_AtanhOp : LLM_UnaryOp<"atanh", "inverse hyperbolic tangent">;
def LLM_TanhOp : LLM_UnaryOp<"tanh", "hyperbolic tangent">;
def LLM_ErfOp : LLM_UnaryOp<"erf", "error function">;
def LLM_FloorOp : LLM_UnaryOp<"floor", "largest integer <= x">;
def LLM_CeilOp : LLM_UnaryOp<"ceil", "smallest integer >= x">;
def LLM_RoundOp : LLM_UnaryOp<"round", "nearest integer, halves to even">;
def LLM_SigmoidOp : LLM_UnaryOp<"sigmoid", "1 / (1 + exp(-x))">;
def LLM_ReluOp : LLM_UnaryOp<"relu", "max(x, 0)", LLM_Tensor> { let hasFolder = 1; }
def LLM_SiluOp : LLM_UnaryOp<"silu", "x * sigmoid(x)">;
def LLM_SoftplusOp : LLM_UnaryOp<"softplus", "log(1 + exp(x))">;
def LLM_NotOp : LLM_UnaryOp<"not", "logical not of i1, bitwise not of integers", LLM_Tensor> { let hasFolder = 1; }

def LLM_GeluOp : LLM_PureOp<"gelu", [LLM_Elementwise, SameOperandsAndResultType]> {
  let summary = "x * Phi(x), exact (erf) or by the tanh approximation";
  let description = [{ Hendrycks and Gimpel, arXiv:1606.08415. }];
  let arguments = (ins LLM_FloatTensor:$input, UnitAttr:$tanh);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

class LLM_TestOp<string mnemonic, string formula> : LLM_PureOp<mnemonic, [LLM_Elementwise]> {
  let summary = formula;
  let arguments = (ins LLM_FloatTensor:$input);
  let results = (outs LLM_BoolTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}
def LLM_IsNanOp : LLM_TestOp<"isnan", "true where x is NaN">;
def LLM_IsInfOp : LLM_TestOp<"isinf", "true where x is plus or minus infinity">;

def LLM_CastOp : LLM_PureOp<"cast", [LLM_Elementwise]> {
  let summary = "Converts the element type";
  let description = [{
    Float to integer truncates towards zero (out of range: as the hardware does). To i1: x != 0. Narrowing a float rounds to
    nearest even; floats of 8 bits and less saturate at their largest number, or with `overflow` become infinity or NaN.
    Integer narrowing wraps.
  }];
  let arguments = (ins LLM_Tensor:$input, UnitAttr:$overflow);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
}

def LLM_BitcastOp : LLM_PureOp<"bitcast", [LLM_Elementwise]> {
  let summary = "The same bits as another element type of the same width";
  let arguments = (ins LLM_Tensor:$input);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

//===----------------------------------------------------------------------===//
// Two operands and more, broadcasting
//===----------------------------------------------------------------------===//

class LLM_BinaryOp<string mnemonic, string formula, list<Trait> traits = []>
    : LLM_PureOp<mnemonic, traits # [LLM_Elementwise]> {
  let summary = formula;
  let arguments = (ins LLM_Tensor:$lhs, LLM_Tensor:$rhs);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def LLM_AddOp : LLM_BinaryOp<"add", "x + y", [Commutative]> { let hasFolder = 1; }
def LLM_SubOp : LLM_BinaryOp<"sub", "x - y"> { let hasFolder = 1; }
def LLM_MulOp : LLM_BinaryOp<"mul", "x * y", [Commutative]> { let hasFolder = 1; }
def LLM_DivOp : LLM_BinaryOp<"div", "x / y; integers truncate towards zero"> { let hasFolder = 1; }
def LLM_PowOp : LLM_BinaryOp<"pow", "x to the power of y; y may have its own element type"> { let hasFolder = 1; }
def LLM_MinOp : LLM_BinaryOp<"min", "the smaller; NaN if one is NaN", [Commutative]> { let hasFolder = 1; }
def LLM_MaxOp : LLM_BinaryOp<"max", "the larger; NaN if one is NaN", [Commutative]> { let hasFolder = 1; }
def LLM_AndOp : LLM_BinaryOp<"and", "logical and of i1, bitwise and of integers", [Commutative]> { let hasFolder = 1; }
def LLM_OrOp : LLM_BinaryOp<"or", "logical or of i1, bitwise or of integers", [Commutative]> { let hasFolder = 1; }
def LLM_XorOp : LLM_BinaryOp<"xor", "exclusive or of i1, bitwise exclusive or of integers", [Commutative]>;
def LLM_ShlOp : LLM_BinaryOp<"shl", "x shifted left by y bits">;
def LLM_ShrOp : LLM_BinaryOp<"shr", "x shifted right by y bits, unsigned">;

def LLM_ModOp : LLM_PureOp<"mod", [LLM_Elementwise]> {
  let summary = "Remainder with the sign of the divisor (Python), or with `trunc` of the dividend (C fmod)";
  let arguments = (ins LLM_Tensor:$lhs, LLM_Tensor:$rhs, UnitAttr:$trunc);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def LLM_ComparePredicate : I32EnumAttr<"ComparePredicate", "comparison", [
    I32EnumAttrCase<"eq", 0>, I32EnumAttrCase<"ne", 1>, I32EnumAttrCase<"lt", 2>,
    I32EnumAttrCase<"le", 3>, I32EnumAttrCase<"gt", 4>, I32EnumAttrCase<"ge", 5>]> {
  let cppNamespace = "::llmopt::llm";
  let genSpecializedAttr = 0;
}
def LLM_ComparePredicateAttr : EnumAttr<LLM_Dialect, LLM_ComparePredicate, "predicate">;

def LLM_CompareOp : LLM_PureOp<"compare", [LLM_Elementwise]> {
  let summary = "Compares elements; with a NaN only `ne` is true";
  let arguments = (ins LLM_ComparePredicateAttr:$predicate, LLM_Tensor:$lhs, LLM_Tensor:$rhs);
  let results = (outs LLM_BoolTensor:$result);
  let assemblyFormat = "$predicate $lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
}

def LLM_SelectOp : LLM_PureOp<"select", [LLM_Elementwise]> {
  let summary = "condition ? x : y, all three broadcast";
  let arguments = (ins LLM_BoolTensor:$condition, LLM_Tensor:$lhs, LLM_Tensor:$rhs);
  let results = (outs LLM_Tensor:$result);
  let assemblyFormat = [{
    $condition `,` $lhs `,` $rhs attr-dict `:` type($condition) `,` type($lhs) `,` type($rhs) `->` type($result)
  }];
  let hasFolder = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMELEMENTWISEOPS_TD
