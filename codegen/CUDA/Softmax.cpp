//===- Softmax.cpp - softmax of rows by the written family ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Softmax.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/RowLaunch.h"
#include "codegen/CUDA/RowResults.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

/// The region's softmax, if all results have its shape, so that a thread stores what it computes.
llm::SoftmaxOp match(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  Block &block = kernel.getBody().front();
  auto found = block.getOps<llm::SoftmaxOp>();
  if (found.empty() || !llvm::hasSingleElement(found) || !block.getOps<llm::LayerNormOp>().empty() || !block.getOps<llm::RMSNormOp>().empty())
    return {};
  llm::SoftmaxOp softmax = *found.begin();
  auto type = cast<RankedTensorType>(softmax.getType());
  if (!type.getElementType().isF32() || int64_t(softmax.getAxis()) + 1 != type.getRank())
    return {};
  for (Value yielded : block.getTerminator()->getOperands())
    if (!llvm::equal(shapes.shapeOf(cpu::peelViews(yielded)).dims, shapes.shapeOf(softmax.getResult()).dims))
      return {};
  return softmax;
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerSoftmax(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  llm::SoftmaxOp softmax = match(kernel, shapes);
  if (!softmax)
    return std::optional<LoweredDeviceKernel>();
  SymContext &symbols = shapes.symbols();
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel.getContext())));
  Target emitterTarget = target;
  cpu::FamilyContext context{*module, shapes, emitterTarget, symbol};
  cpu::KernelBuilder b(*module, symbol + "_rows", symbols);
  SmallVector<SymExpr, 4> dims(shapes.shapeOf(softmax.getResult()).dims);
  SymExpr width = dims.pop_back_val(), rows = symbols.constant(1);
  for (SymExpr dim : dims)
    rows = symbols.mul(rows, dim);
  if (!rows.known() || !width.known())
    return std::optional<LoweredDeviceKernel>();
  b.dim(width);
  auto named = [&](Type type, const char *name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value stores = named(b.i64(), "stores"), row = named(b.i64(), "row"), column = named(b.i64(), "column"), value = named(b.f32(), "value");
  Value to = named(mlir::LLVM::LLVMPointerType::get(kernel.getContext()), "to");
  auto placeOf = [&](cpu::ElementEmitter &emitter) {
    cpu::LoopScopes &scopes = emitter.scopes;
    cpu::ElementEmitter::Coordinates at = emitter.regroup(rows, scopes.wrap(row, 0), dims);
    at.push_back(scopes.wrap(column, 0));
    return at;
  };
  auto load = [&](cpu::ElementEmitter &emitter) { cpu::storeElements(b, b.f32(), emitter.element(softmax.getInput(), placeOf(emitter)), to, b.index(0)); };
  auto store = [&](cpu::ElementEmitter &emitter) { storeRowResults(b, emitter, kernel, softmax.getResult(), value, placeOf(emitter)); };
  LLMOPT_RETURN_IF_ERROR(emitHalves(b, kernel, context, stores, load, store));
  cpu::expandHalfConversions(*module, target);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));

  constexpr int64_t kHeld = 8, kMostThreads = 1024, kUsualThreads = 128;
  RowText text{"u64 stores, u64 row, u64 column, float value, u8 *to",
               "  DEVICE_MEMBER float load(i64 row, i64 column) const {\n    float value = 0;\n    apply(0, u64(row), u64(column), 0, reinterpret_cast<u8 *>(&value));\n    return value;\n  }\n"
               "  DEVICE_MEMBER void store(i64 row, i64 column, float value) const { apply(1, u64(row), u64(column), value, nullptr); }\n"};
  LoweredDeviceKernel lowered;
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  lowered.unit = rowUnit({"Softmax", "softmax.cuh", threadsForRows(width, kHeld, kMostThreads, kUsualThreads)}, symbol, printGlobals(*module), body, text, width);
  lowered.plan.variants.push_back({symbol, 0, rows, SymExpr()});
  cpu::addCosts(kernel, shapes, lowered.plan);
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
