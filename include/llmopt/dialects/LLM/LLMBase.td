//===- LLMBase.td - dialect, types, interfaces, op classes
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMBASE_TD
#define LLMOPT_DIALECTS_LLM_LLMBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "llmopt/dialects/LLM/LLMInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def LLM_Dialect : Dialect {
  let name = "llm";
  let cppNamespace = "::llmopt::llm";
  let summary = "Semantic tensor operations of transformer inference";
  let description = [{
    Values are ranked tensors. A dimension that is not known when compiling is `?` in the type; its symbolic
    expression lives in the shape analysis (`lib/Analysis`), which starts from the argument attribute `llm.dims` of a
    function: an array with one entry a dimension, a string (the symbol's name) or an integer.

    Binary and ternary elementwise operations broadcast as ONNX and NumPy do: shapes are aligned at the last
    dimension, and a dimension of size 1 (or a missing one) is repeated. Integer arithmetic wraps. Operands have equal
    element types unless an operation says otherwise.

    Composite operations (interface `Decomposable`) can be taken apart into smaller ones; that piece of code is their
    specification, the fallback where no kernel fits, and the oracle of their tests.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// Formats of at most 8 bits that tensors may have; casts, views and indexing take them.
def LLM_NarrowElement : AnyTypeOf<[F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0FNU, F6E2M3FN, F6E3M2FN, F4E2M1FN,
                                   I<2>, I<4>, UI<2>, UI<4>]>;
def LLM_FloatElement : AnyTypeOf<[F64, F32, F16, BF16]>;
def LLM_IntElement : AnyTypeOf<[I1, I8, I16, I32, I64, UI8, UI16, UI32, UI64]>;
def LLM_Element : AnyTypeOf<[F64, F32, F16, BF16, I1, I8, I16, I32, I64, UI8, UI16, UI32, UI64,
                              LLM_NarrowElement]>;

def LLM_Tensor : RankedTensorOf<[LLM_Element]>;
def LLM_FloatTensor : RankedTensorOf<[LLM_FloatElement]>;
def LLM_BoolTensor : RankedTensorOf<[I1]>;
/// Positions, indices, shapes.
def LLM_IndexTensor : RankedTensorOf<[I32, I64]>;
def LLM_IndexVector : 1DTensorOf<[I32, I64]>;

//===----------------------------------------------------------------------===//
// Traits and op classes
//===----------------------------------------------------------------------===//

/// Computes each result element from the operand elements at the same (broadcast) index, and nothing else.
def LLM_Elementwise : NativeOpTrait<"Elementwise"> { let cppNamespace = "::llmopt::llm"; }

class LLM_Op<string mnemonic, list<Trait> traits = []> : Op<LLM_Dialect, mnemonic, traits>;
/// Without side effects: may be moved, merged, removed.
class LLM_PureOp<string mnemonic, list<Trait> traits = []> : LLM_Op<mnemonic, traits # [Pure]>;

#endif // LLMOPT_DIALECTS_LLM_LLMBASE_TD
