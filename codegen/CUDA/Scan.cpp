//===- Scan.cpp - running sums by the written family ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Scan.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/PrinterExpressions.h"
#include "codegen/CUDA/RowLaunch.h"
#include "codegen/CUDA/RowResults.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

static constexpr int64_t kFewElements = 64; // a thread for each line does as well

static bool yieldsNothingElse(exec::KernelOp kernel, Operation *op) {
  return llvm::all_of(kernel.getBody().front().getTerminator()->getOperands(), [&](Value yielded) { return cpu::peelViews(yielded).getDefiningOp() == op; });
}

Result<std::optional<LoweredDeviceKernel>> cuda::lowerScan(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  auto sum = dyn_cast_or_null<llm::CumSumOp>(cpu::sliceOperation(kernel));
  if (!sum || !yieldsNothingElse(kernel, sum))
    return std::optional<LoweredDeviceKernel>();
  Type type = cpu::registerType(getElementTypeOrSelf(sum.getInput().getType()));
  SymContext &symbols = shapes.symbols();
  SmallVector<SymExpr, 4> dims(shapes.shapeOf(sum.getInput()).dims);
  size_t axis = size_t(sum.getAxis());
  SymExpr width = dims[axis], rows = symbols.constant(1);
  dims.erase(dims.begin() + axis);
  for (SymExpr dim : dims)
    rows = symbols.mul(rows, dim);
  if (!rows.known() || !width.known() || (width.constant() && *width.constant() < kFewElements) || (!isa<FloatType>(type) && !type.isInteger(32) && !type.isInteger(64)))
    return std::optional<LoweredDeviceKernel>();

  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel.getContext())));
  cpu::FamilyContext context{*module, shapes, target, symbol};
  cpu::KernelBuilder b(*module, symbol + "_rows", symbols);
  b.dim(width);
  auto named = [&](Type type, const char *name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value stores = named(b.i64(), "stores"), row = named(b.i64(), "row"), column = named(b.i64(), "column"), value = named(type, "value");
  Value to = named(mlir::LLVM::LLVMPointerType::get(kernel.getContext()), "to");
  auto placeOf = [&](cpu::ElementEmitter &emitter) {
    cpu::LoopScopes &scopes = emitter.scopes;
    cpu::ElementEmitter::Coordinates at = emitter.regroup(rows, scopes.wrap(row, 0), dims);
    at.insert(at.begin() + axis, scopes.wrap(column, 0));
    return at;
  };
  auto load = [&](cpu::ElementEmitter &emitter) { b.store(emitter.element(sum.getInput(), placeOf(emitter)), to, b.index(0)); };
  auto store = [&](cpu::ElementEmitter &emitter) { storeRowResults(b, emitter, kernel, sum.getResult(), value, placeOf(emitter)); };
  LLMOPT_RETURN_IF_ERROR(emitHalves(b, kernel, context, stores, load, store));
  cpu::expandHalfConversions(*module, target);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));

  constexpr int64_t kHeld = 4, kMostThreads = 1024, kUsualThreads = 256;
  auto flag = [](bool value) { return value ? "true" : "false"; };
  std::string name = typeName(type);
  RowText text{"u64 stores, u64 row, u64 column, Type value, u8 *to",
               "  typedef " + name + " Type;\n  static constexpr bool kExclusive = " + flag(sum.getExclusive()) + ", kReverse = " + flag(sum.getReverse()) +
                   ";\n  DEVICE_MEMBER Type load(i64 row, i64 column) const {\n    Type value = 0;\n    apply(0, u64(row), u64(column), 0, reinterpret_cast<u8 *>(&value));\n    return value;\n  }\n"
                   "  DEVICE_MEMBER void store(i64 row, i64 column, Type value) const { apply(1, u64(row), u64(column), value, nullptr); }\n"};
  LoweredDeviceKernel lowered;
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  lowered.unit = rowUnit({"Scan", "scan.cuh", threadsForRows(width, kHeld, kMostThreads, kUsualThreads)}, symbol, printGlobals(*module), body, text, width);
  lowered.plan.variants.push_back({symbol, 0, rows, SymExpr()});
  cpu::addCosts(kernel, shapes, lowered.plan);
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
