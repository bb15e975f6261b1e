//===- Exec.td - kernels cut out of a graph
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_EXEC_EXEC_TD
#define LLMOPT_DIALECTS_EXEC_EXEC_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Exec_Dialect : Dialect {
  let name = "exec";
  let cppNamespace = "::llmopt::exec";
  let summary = "What runs: kernels in order, each one launch";
  let description = [{
    From phase Planned on, a function body is a list of `exec.kernel` operations, `llm.weight`, `llm.constant` and
    weight-only expressions over them. The order is the order of execution. Phase Strategy writes the `strategy`
    attribute; phase Lowered turns each different kernel into code and the list into the artifact's plan (`lib/Artifact/Plan.h`).
  }];
}

def Exec_KernelOp : Op<Exec_Dialect, "kernel", [IsolatedFromAbove, SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "One kernel: a region of llm operations that runs as one launch";
  let description = [{
    The block arguments stand for the operands, one for one. `family` names the generator in codegen that lowers the region
    ("loops", "linear", "paged_attention", ...); the region says what is computed, the family how. Two kernels with equal
    regions, shapes and strategies share their code: the region holds no names and no weights.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs, StrAttr:$family, OptionalAttr<AnyAttr>:$strategy);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$family `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs) $body";
  let hasVerifier = 1;
}

def Exec_YieldOp : Op<Exec_Dialect, "yield", [Pure, Terminator, HasParent<"KernelOp">, ReturnLike]> {
  let summary = "The results of a kernel";
  let arguments = (ins Variadic<AnyRankedTensor>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{}]>];
}

#endif // LLMOPT_DIALECTS_EXEC_EXEC_TD
