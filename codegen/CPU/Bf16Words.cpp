//===- Bf16Words.cpp - rounding to words of two bf16 ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Bf16Words.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

/// Lanes of one conversion, and columns of a panel.
static constexpr int64_t kLanes = 16;

Value Bf16Words::round(Value x) {
  auto vector = dyn_cast<VectorType>(x.getType());
  if (!converts_ || !vector || vector.getNumElements() != kLanes)
    return b_.f32ToBf16(x);
  OpBuilder &ops = b_.ops();
  Value rounded = arith::TruncFOp::create(ops, b_.loc(), b_.vec(kLanes, ops.getBF16Type()), x);
  return arith::BitcastOp::create(ops, b_.loc(), b_.vec(kLanes, ops.getIntegerType(16)), rounded);
}

Value Bf16Words::join(Value even, Value odd) {
  OpBuilder &ops = b_.ops();
  auto vector = cast<VectorType>(even.getType());
  VectorType words = b_.vec(vector.getNumElements(), b_.i32());
  if (converts_ && vector.getNumElements() == kLanes) {
    Value operands[] = {odd, even};
    Value halves = LLVM::CallIntrinsicOp::create(ops, b_.loc(), b_.vec(2 * kLanes, ops.getBF16Type()),
                                                 ops.getStringAttr("llvm.x86.avx512bf16.cvtne2ps2bf16.512"), operands)
                       .getResult(0);
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < kLanes; ++i)
      order.append({i, kLanes + i});
    return vector::BitCastOp::create(ops, b_.loc(), words, vector::ShuffleOp::create(ops, b_.loc(), halves, halves, order));
  }
  Value low = arith::ExtUIOp::create(ops, b_.loc(), words, round(even)), high = arith::ExtUIOp::create(ops, b_.loc(), words, round(odd));
  return arith::OrIOp::create(ops, b_.loc(), low, arith::ShLIOp::create(ops, b_.loc(), high, b_.constantInt(words, 16)));
}

void Bf16Words::roundRow(Value from, Value to, int64_t count, int64_t lanes) {
  int64_t whole = count / lanes * lanes;
  b_.forLoop(b_.index(0), b_.index(whole), lanes, [&](Value i) { b_.store(round(b_.load(b_.vec(lanes, b_.f32()), from, i)), to, i); });
  b_.forLoop(b_.index(whole), b_.index(count), 1, [&](Value i) { b_.store(round(b_.load(b_.f32(), from, i)), to, i); });
  if (count % 2)
    b_.store(b_.constantInt(b_.ops().getIntegerType(16), 0), to, b_.index(count));
}

void Bf16Words::joinRows(Value even, Value odd, Value to, int64_t count, int64_t panelWords) {
  int64_t whole = count / kLanes;
  VectorType type = b_.vec(kLanes, b_.f32());
  auto panel = [&](Value panel, function_ref<Value(Value row, Value place)> load) {
    Value place = b_.mul(panel, kLanes);
    b_.store(join(load(even, place), odd ? load(odd, place) : b_.constant(type, 0)), to, b_.mul(panel, panelWords));
  };
  b_.forLoop(b_.index(0), b_.index(whole), 1, [&](Value i) { panel(i, [&](Value row, Value place) { return b_.load(type, row, place); }); });
  if (count % kLanes)
    panel(b_.index(whole), [&](Value row, Value place) { return b_.loadPart(type, row, place, b_.index(count % kLanes)); });
}
