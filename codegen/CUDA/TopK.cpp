//===- TopK.cpp - the k best of rows by the written family ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/TopK.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/RowLaunch.h"
#include "codegen/CUDA/RowResults.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

static constexpr int64_t kMostBest = 1024; // they lie in shared memory, and are ranked against each other

/// Results of the operation alone, over the last axis.
static bool fits(exec::KernelOp kernel, llm::TopKOp topk, ArrayRef<SymExpr> dims) {
  for (Value yielded : kernel.getBody().front().getTerminator()->getOperands())
    if (cpu::peelViews(yielded).getDefiningOp() != topk)
      return false;
  return int64_t(topk.getAxis()) + 1 == int64_t(dims.size()) && cpu::registerType(getElementTypeOrSelf(topk.getInput().getType())).isF32();
}

Result<std::optional<LoweredDeviceKernel>> cuda::lowerTopK(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  auto topk = dyn_cast_or_null<llm::TopKOp>(cpu::sliceOperation(kernel));
  if (!topk || !fits(kernel, topk, shapes.shapeOf(topk.getInput()).dims))
    return std::optional<LoweredDeviceKernel>();
  SymContext &symbols = shapes.symbols();
  SmallVector<SymExpr, 4> dims(shapes.shapeOf(topk.getInput()).dims);
  SymExpr width = dims.pop_back_val(), rows = symbols.constant(1);
  for (SymExpr dim : dims)
    rows = symbols.mul(rows, dim);
  std::optional<int64_t> k = shapes.shapeOf(topk.getValues()).dims.back().constant();
  if (!rows.known() || !width.known() || !k || *k < 1 || *k > kMostBest)
    return std::optional<LoweredDeviceKernel>();

  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel.getContext())));
  cpu::FamilyContext context{*module, shapes, target, symbol};
  cpu::KernelBuilder b(*module, symbol + "_rows", symbols);
  b.dim(width);
  auto named = [&](Type type, const char *name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value stores = named(b.i64(), "stores"), row = named(b.i64(), "row"), column = named(b.i64(), "column"), place = named(b.i64(), "place"), value = named(b.f32(), "value");
  Value to = named(mlir::LLVM::LLVMPointerType::get(kernel.getContext()), "to");
  auto load = [&](cpu::ElementEmitter &emitter) {
    cpu::LoopScopes &scopes = emitter.scopes;
    cpu::ElementEmitter::Coordinates at = emitter.regroup(rows, scopes.wrap(row, 0), dims);
    at.push_back(scopes.wrap(column, 0));
    cpu::storeElements(b, b.f32(), emitter.element(topk.getInput(), at), to, b.index(0));
  };
  auto store = [&](cpu::ElementEmitter &emitter) {
    for (OpOperand &yielded : kernel.getBody().front().getTerminator()->getOpOperands()) {
      Value of = cpu::peelViews(yielded.get());
      cpu::storeElements(b, emitter.elementType(of), of == topk.getValues() ? value : column, b.buffer(unsigned(kernel.getInputs().size() + yielded.getOperandNumber())),
                         b.add(b.mul(row, *k), place));
    }
  };
  LLMOPT_RETURN_IF_ERROR(emitHalves(b, kernel, context, stores, load, store));
  cpu::expandHalfConversions(*module, target);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));

  constexpr int64_t kHeld = 4, kMostThreads = 1024, kUsualThreads = 256;
  RowText text{"u64 stores, u64 row, u64 column, u64 place, float value, u8 *to",
               "  static constexpr int kMost = " + std::to_string(kMostBest) + ";\n  static constexpr bool kLargest = " + (topk.getLargest() ? "true" : "false") +
                   ";\n  DEVICE_MEMBER float load(i64 row, i64 column) const {\n    float value = 0;\n    apply(0, u64(row), u64(column), 0, 0, reinterpret_cast<u8 *>(&value));\n    return value;\n  }\n"
                   "  DEVICE_MEMBER void store(i64 row, i64 place, float value, i64 column) const { apply(1, u64(row), u64(column), u64(place), value, nullptr); }\n"};
  text.arguments = ", " + std::to_string(*k);
  LoweredDeviceKernel lowered;
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  lowered.unit = rowUnit({"TopK", "top_k.cuh", threadsForRows(width, kHeld, kMostThreads, kUsualThreads)}, symbol, printGlobals(*module), body, text, width);
  lowered.plan.variants.push_back({symbol, 0, rows, SymExpr()});
  cpu::addCosts(kernel, shapes, lowered.plan);
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
