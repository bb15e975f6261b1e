//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/RowResults.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/Loops.h"

using namespace mlir;
using namespace llmopt;

void cuda::storeRowResults(cpu::KernelBuilder &b, cpu::ElementEmitter &emitter, exec::KernelOp kernel, Value heart, Value value, cpu::ElementEmitter::At at, ValueRange but) {
  cpu::LoopScopes &scopes = emitter.scopes;
  emitter.override(heart, [value](cpu::ElementEmitter::At) { return value; });
  struct Result {
    Value of, element;
    unsigned binding;
  };
  SmallVector<Result> results; // all before any store: a result may lie on an operand that is read at the same place
  for (OpOperand &yielded : kernel.getBody().front().getTerminator()->getOpOperands())
    if (Value of = cpu::peelViews(yielded.get()); !llvm::is_contained(but, of))
      results.push_back({of, emitter.element(of, at), unsigned(kernel.getInputs().size() + yielded.getOperandNumber())});
  for (const Result &result : results)
    cpu::storeElements(b, emitter.elementType(result.of), result.element, b.buffer(result.binding), scopes.scalar(scopes.linearize(emitter.dims(result.of), at)));
}

Status cuda::emitHalves(cpu::KernelBuilder &b, exec::KernelOp kernel, cpu::FamilyContext &context, Value stores,
                        llvm::function_ref<void(cpu::ElementEmitter &)> load, llvm::function_ref<void(cpu::ElementEmitter &)> store) {
  Status status;
  for (int64_t half : {0, 1})
    b.ifThen(b.equal(stores, b.index(half)), [&] {
      cpu::ElementEmitter emitter(b, kernel, context, /*lanes=*/1);
      (half == 0 ? load : store)(emitter);
      if (!emitter.status())
        status = emitter.status();
      if (emitter.scopes.sawUnknown)
        status = unsupported("E0911", "a size that the kernel needs is not known before it runs", context.symbol);
    });
  return status;
}
