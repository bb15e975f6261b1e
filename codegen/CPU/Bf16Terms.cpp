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

using Values = KernelBuilder::Values;

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

namespace {

/// Numbers as the bits that they are.
class TermWriter {
public:
  TermWriter(KernelBuilder &b, Value x) : b_(b), type_(x.getType()), ints_(b.i32()), x_(x) {
    if (auto vector = dyn_cast<VectorType>(type_))
      ints_ = b.vec(vector.getNumElements(), b.i32());
  }
  Value cut(Value number) { return highHalf(bits(number)); }
  /// To nearest, by the bits of `half` of the last place that is kept.
  Value rounded(Value number, Value half) { return highHalf(arith::AddIOp::create(b_.ops(), b_.loc(), bits(number), half)); }
  Value half() { return b_.constantInt(ints_, 0x8000); }
  /// Nothing where rounding up would make an infinity.
  Value finiteHalf() {
    Value magnitude = arith::BitcastOp::create(b_.ops(), b_.loc(), type_, arith::AndIOp::create(b_.ops(), b_.loc(), bits(x_), b_.constantInt(ints_, 0x7fffffff)));
    Value small = arith::CmpFOp::create(b_.ops(), b_.loc(), arith::CmpFPredicate::OLT, magnitude, b_.constant(type_, 0x1.ffp127));
    return b_.select(small, half(), b_.constantInt(ints_, 0));
  }
  Values terms(Value first, int64_t count) {
    Value rest = b_.fsub(x_, first), second = rounded(rest, half());
    if (count == 2)
      return {first, second};
    return {first, second, b_.fsub(rest, second)};
  }

private:
  Value bits(Value number) { return arith::BitcastOp::create(b_.ops(), b_.loc(), ints_, number); }
  Value highHalf(Value bits) { return arith::BitcastOp::create(b_.ops(), b_.loc(), type_, arith::AndIOp::create(b_.ops(), b_.loc(), bits, b_.constantInt(ints_, kHighHalf))); }

  KernelBuilder &b_;
  Type type_, ints_;
  Value x_;
};

} // namespace

// The first term is cut, so that it is finite where x is; the second one rounded; the third is what is left, of at most eight bits.
Values cpu::splitTerms(KernelBuilder &b, Value x, int64_t terms) {
  TermWriter writer(b, x);
  return writer.terms(writer.cut(x), terms);
}

Values cpu::splitRowTerms(KernelBuilder &b, Value x, int64_t terms) {
  TermWriter writer(b, x);
  return writer.terms(terms == 2 ? writer.rounded(x, writer.finiteHalf()) : writer.cut(x), terms);
}

Value cpu::joinTerms(KernelBuilder &b, Value even, Value odd) {
  OpBuilder &ops = b.ops();
  VectorType ints = b.vec(cast<VectorType>(even.getType()).getNumElements(), b.i32());
  auto bits = [&](Value term) { return arith::BitcastOp::create(ops, b.loc(), ints, term); };
  return arith::OrIOp::create(ops, b.loc(), arith::ShRUIOp::create(ops, b.loc(), bits(even), b.constantInt(ints, 16)), bits(odd));
}

/// The high halves of one vector, then those of another.
static Value packHalves(KernelBuilder &b, Value first, Value second) {
  OpBuilder &ops = b.ops();
  int64_t lanes = cast<VectorType>(first.getType()).getNumElements();
  VectorType halves = b.vec(2 * lanes, ops.getIntegerType(16));
  auto split = [&](Value terms) { return vector::BitCastOp::create(ops, b.loc(), halves, terms); };
  SmallVector<int64_t> high;
  for (int64_t i = 0; i < 2 * lanes; ++i)
    high.push_back(2 * i + 1);
  return vector::ShuffleOp::create(ops, b.loc(), split(first), split(second), high);
}

void cpu::storeTerms(KernelBuilder &b, Value from, int64_t words, int64_t terms, Value to, Value termWords, function_ref<Value(Value)> ordered) {
  Values halves[2];
  for (int64_t half = 0; half < 2; ++half)
    halves[half] = splitRowTerms(b, b.load(b.vec(words, b.f32()), from, b.index(half * words)), terms);
  for (int64_t term = 0; term < terms; ++term) {
    Value packed = packHalves(b, halves[0][size_t(term)], halves[1][size_t(term)]);
    if (ordered)
      packed = ordered(packed);
    b.store(vector::BitCastOp::create(b.ops(), b.loc(), b.vec(words, b.i32()), packed), to, b.mul(termWords, term));
  }
}
