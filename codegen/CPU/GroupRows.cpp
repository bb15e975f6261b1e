//===- GroupRows.cpp - family "group_rows": rows sorted by expert ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stable counting sort by one thread: a step has few rows beside the products that follow.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/KernelFamily.h"
#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class GroupWriter {
public:
  GroupWriter(KernelBuilder &b, int64_t experts, Type chosenType) : b(b), experts(experts), chosenType(chosenType) {}

  /// `next`: a place for one number an expert.
  void emit(Value rows, Value chosen, Value order, Value offsets, Value next) {
    Value zero = b.index(0), count = b.index(experts);
    b.forLoop(zero, b.add(count, 1), 1, [&](Value e) { put(zero, offsets, e); });
    b.forLoop(zero, rows, 1, [&](Value row) {
      Value behind = b.add(expertOf(chosen, row), 1);
      put(b.add(get(offsets, behind), 1), offsets, behind);
    });
    b.forLoop(zero, count, 1, [&](Value e) {
      Value first = get(offsets, e), behind = b.add(e, 1);
      put(first, next, e);
      put(b.add(get(offsets, behind), first), offsets, behind);
    });
    b.forLoop(zero, rows, 1, [&](Value row) {
      Value e = expertOf(chosen, row), place = get(next, e);
      put(row, order, place);
      put(b.add(place, 1), next, e);
    });
  }

private:
  Value expertOf(Value chosen, Value row) {
    Value number = b.load(chosenType, chosen, row);
    if (!chosenType.isInteger(64))
      number = arith::ExtSIOp::create(b.ops(), b.loc(), b.i64(), number);
    return b.min(b.max(number, b.index(0)), b.index(experts - 1));
  }
  Value get(Value base, Value at) { return arith::ExtSIOp::create(b.ops(), b.loc(), b.i64(), b.load(b.i32(), base, at)); }
  void put(Value number, Value base, Value at) { b.store(arith::TruncIOp::create(b.ops(), b.loc(), b.i32(), number), base, at); }

  KernelBuilder &b;
  int64_t experts;
  Type chosenType;
};

} // namespace

namespace llmopt::cpu {

Result<LoweredKernel> lowerGroupRows(exec::KernelOp kernel, FamilyContext &family) {
  auto ops = kernel.getBody().getOps<llm::GroupRowsOp>();
  if (ops.empty())
    return internalError("E0943", "a kernel of family group_rows has no such operation");
  llm::GroupRowsOp op = *ops.begin();
  SymContext &symbols = family.shapes.symbols();
  SymExpr rows = symbols.constant(1);
  for (SymExpr dim : family.shapes.shapeOf(op.getChosen()).dims)
    rows = symbols.mul(rows, dim);
  auto chosen = dyn_cast<BlockArgument>(op.getChosen());
  if (!chosen || !rows.known())
    return unsupported("E0944", "the rows to be grouped are not an input of known size");
  LoweredKernel result;
  KernelBuilder b(family.module, family.symbol, symbols);
  int64_t experts = int64_t(op.getExperts());
  unsigned inputs = kernel.getBody().getNumArguments();
  auto outputOf = [&](Value value) -> std::optional<unsigned> {
    for (auto [i, yielded] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
      if (yielded == value)
        return inputs + unsigned(i);
    return std::nullopt;
  };
  std::optional<unsigned> order = outputOf(op.getOrder()), offsets = outputOf(op.getOffsets());
  if (!order || !offsets)
    return unsupported("E0944", "grouped rows need both their order and their offsets to be used");
  Value count = b.dim(rows);
  b.forEachUnit([&](Value) {
    GroupWriter(b, experts, getElementTypeOrSelf(op.getChosen().getType()))
        .emit(count, b.buffer(chosen.getArgNumber()), b.buffer(*order), b.buffer(*offsets), b.scratch());
  });
  result.variants.push_back({family.symbol, 0, symbols.constant(1), symbols.constant(experts * 4)});
  result.dims.assign(b.dims().begin(), b.dims().end());
  result.bytesMoved = symbols.mul(rows, symbols.constant(12));
  result.flops = symbols.constant(0);
  return result;
}

} // namespace llmopt::cpu
