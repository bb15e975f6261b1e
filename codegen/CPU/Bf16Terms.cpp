//===- Bf16Terms.cpp - f32 as sums of bf16 numbers ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Bf16Terms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <algorithm>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kHighHalf = -65536;

// Neighbours share a term where they can, which stays in its register.
llvm::SmallVector<std::pair<int64_t, int64_t>> cpu::termProducts(int64_t rowTerms, int64_t weightTerms) {
  llvm::SmallVector<std::pair<int64_t, int64_t>> products;
  for (auto [row, weight] : {std::pair<int64_t, int64_t>(1, 1), {0, 1}, {0, 2}, {0, 0}, {1, 0}, {2, 0}})
    if (row < rowTerms && weight < weightTerms && row + weight < std::max(rowTerms, weightTerms))
      products.push_back({row, weight});
  return products;
}

int64_t cpu::weightTermsOf(Type element, int64_t terms) { return element.isBF16() ? 1 : element.isF16() ? 2 : terms; }

// The first term is cut, so that it is finite where x is; the second one rounded; the third is what is left, of at most eight bits.
KernelBuilder::Values cpu::splitTerms(KernelBuilder &b, Value x, int64_t terms) {
  OpBuilder &ops = b.ops();
  Type type = x.getType(), ints = b.i32();
  if (auto vector = dyn_cast<VectorType>(type))
    ints = b.vec(vector.getNumElements(), b.i32());
  auto highHalf = [&](Value number, bool rounded) {
    Value bits = arith::BitcastOp::create(ops, b.loc(), ints, number);
    if (rounded)
      bits = arith::AddIOp::create(ops, b.loc(), bits, b.constantInt(ints, 0x8000));
    bits = arith::AndIOp::create(ops, b.loc(), bits, b.constantInt(ints, kHighHalf));
    return Value(arith::BitcastOp::create(ops, b.loc(), type, bits));
  };
  Value first = highHalf(x, false), rest = b.fsub(x, first), second = highHalf(rest, true);
  if (terms == 2)
    return {first, second};
  return {first, second, b.fsub(rest, second)};
}

Value cpu::joinTerms(KernelBuilder &b, Value even, Value odd) {
  OpBuilder &ops = b.ops();
  VectorType ints = b.vec(cast<VectorType>(even.getType()).getNumElements(), b.i32());
  auto bits = [&](Value term) { return arith::BitcastOp::create(ops, b.loc(), ints, term); };
  return arith::OrIOp::create(ops, b.loc(), arith::ShRUIOp::create(ops, b.loc(), bits(even), b.constantInt(ints, 16)), bits(odd));
}

Value cpu::packTerms(KernelBuilder &b, Value first, Value second) {
  OpBuilder &ops = b.ops();
  int64_t lanes = cast<VectorType>(first.getType()).getNumElements();
  VectorType halves = b.vec(2 * lanes, ops.getIntegerType(16));
  auto split = [&](Value terms) { return vector::BitCastOp::create(ops, b.loc(), halves, terms); };
  SmallVector<int64_t> high;
  for (int64_t i = 0; i < 2 * lanes; ++i)
    high.push_back(2 * i + 1);
  Value both = vector::ShuffleOp::create(ops, b.loc(), split(first), split(second), high);
  return vector::BitCastOp::create(ops, b.loc(), b.vec(lanes, b.i32()), both);
}

void cpu::storeTerms(KernelBuilder &b, Value from, int64_t words, int64_t terms, Value to, Value termWords) {
  KernelBuilder::Values halves[2];
  for (int64_t half = 0; half < 2; ++half)
    halves[half] = splitTerms(b, b.load(b.vec(words, b.f32()), from, b.index(half * words)), terms);
  for (int64_t term = 0; term < terms; ++term)
    b.store(packTerms(b, halves[0][size_t(term)], halves[1][size_t(term)]), to, b.mul(termWords, term));
}
