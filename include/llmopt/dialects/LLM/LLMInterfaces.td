//===- LLMInterfaces.td - interfaces of operations
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMINTERFACES_TD
#define LLMOPT_DIALECTS_LLM_LLMINTERFACES_TD

include "mlir/IR/Interfaces.td"

def LLM_Decomposable : OpInterface<"Decomposable"> {
  let cppNamespace = "::llmopt::llm";
  let description = [{ A composite operation that can be written in smaller operations of this dialect. }];
  let methods = [InterfaceMethod<
    /*desc=*/"Builds the equivalent operations at the builder's insertion point and returns the values that replace the results.",
    /*retTy=*/"::llvm::FailureOr<::llvm::SmallVector<::mlir::Value>>",
    /*methodName=*/"decompose",
    /*args=*/(ins "::mlir::OpBuilder &":$builder)>];
}

#endif // LLMOPT_DIALECTS_LLM_LLMINTERFACES_TD
