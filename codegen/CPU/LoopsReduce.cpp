//===- LoopsReduce.cpp - reductions as loops of one element ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The reduced dimensions become loops, outermost first. Where the element asked for is one scalar and the last dimension is
// reduced, the innermost loop runs over vectors, four at a time with accumulators of their own, which are added up in a fixed
// order: the result depends on the size of the dimension and on the target, never on the threads.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LoopsReduce.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/MathApproximationNumber.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

//===----------------------------------------------------------------------===//
// Accumulators
//===----------------------------------------------------------------------===//

Value Accumulator::initial(bool lanes) const {
  Type type = registerType(elementType);
  if (lanes)
    type = e.b.vec(e.scopes.lanes, type);
  using K = llm::ReduceKind;
  bool ones = kind == K::prod;
  if (isa<FloatType>(registerType(elementType))) {
    double infinity = std::numeric_limits<double>::infinity();
    return e.b.constant(type, kind == K::max ? -infinity : kind == K::min ? infinity : ones ? 1.0 : 0.0);
  }
  auto integer = cast<IntegerType>(elementType);
  unsigned width = integer.getWidth();
  bool isUnsigned = integer.isUnsigned() || width == 1;
  llvm::APInt value(width, ones ? 1 : 0);
  if (kind == K::max)
    value = isUnsigned ? llvm::APInt::getMinValue(width) : llvm::APInt::getSignedMinValue(width);
  if (kind == K::min)
    value = isUnsigned ? llvm::APInt::getMaxValue(width) : llvm::APInt::getSignedMaxValue(width);
  return e.b.constantInt(type, width == 1 ? int64_t(value.getZExtValue()) : value.getSExtValue());
}

Value Accumulator::combine(Value sum, Value next) const {
  KernelBuilder &b = e.b;
  using K = llm::ReduceKind;
  using P = arith::CmpIPredicate;
  auto compare = [&](P predicate) -> Value { return arith::CmpIOp::create(b.ops(), b.loc(), predicate, sum, next); };
  bool isFloat = isa<FloatType>(registerType(elementType));
  auto integer = dyn_cast<IntegerType>(elementType);
  bool isUnsigned = integer && (integer.isUnsigned() || integer.getWidth() == 1);
  switch (kind) {
  case K::sum:
  case K::mean: return isFloat ? b.fadd(sum, next) : Value(arith::AddIOp::create(b.ops(), b.loc(), sum, next));
  case K::prod: return isFloat ? b.fmul(sum, next) : Value(arith::MulIOp::create(b.ops(), b.loc(), sum, next));
  case K::max:
    if (!isFloat)
      return b.select(compare(isUnsigned ? P::ugt : P::sgt), sum, next);
    break;
  case K::min:
    if (!isFloat)
      return b.select(compare(isUnsigned ? P::ult : P::slt), sum, next);
    break;
  }
  // A NaN stays: either the new one (the comparison is false), or the old one.
  Number old(b, sum), other(b, next);
  Value keep = kind == K::max ? old > other : old < other;
  keep = arith::OrIOp::create(b.ops(), b.loc(), keep, old.isNan());
  return other.where(keep, old).v;
}

Value Accumulator::overRange(Value size, function_ref<Value(Index)> term) const {
  return overRange(*this, size, [&](Index i) { return KernelBuilder::Values{term(i)}; })[0];
}

KernelBuilder::Values Accumulator::overRange(ArrayRef<Accumulator> all, Value size, Terms terms) {
  using Values = KernelBuilder::Values;
  KernelBuilder &b = all.front().e.b;
  LoopScopes &s = all.front().e.scopes;
  constexpr size_t kChains = 4;
  size_t count = all.size();
  int64_t step = s.lanes * int64_t(kChains);
  auto combined = [&](ValueRange sums, Index i, bool lanes) { // which a vector of one element has, too
    Values next = terms(i);
    for (auto [k, accumulator] : llvm::enumerate(all))
      next[k] = accumulator.combine(sums[k], accumulator.e.matchLanes(next[k], lanes));
    return next;
  };
  // [0, wide) by four vectors, [wide, vectors) by one, the rest by scalars.
  Value wide = b.sub(size, b.mod(size, b.index(step)));
  Value vectors = b.sub(size, b.mod(size, b.index(s.lanes)));
  SmallVector<Value> sums;
  for (size_t k = 0; k < kChains * count; ++k)
    sums.push_back(all[k % count].initial(/*lanes=*/true));
  auto many = s.loop(b.index(0), wide, step, step, sums, [&](Index i, ValueRange carried) {
    Values next;
    for (size_t k = 0; k < kChains; ++k)
      llvm::append_range(next, combined(carried.slice(k * count, count), s.contiguous(s.add(i, s.constant(int64_t(k) * s.lanes))), true));
    return next;
  });
  auto one = s.loop(wide, vectors, s.lanes, s.lanes, ValueRange(many).take_front(count),
                    [&](Index i, ValueRange carried) { return combined(carried, s.contiguous(i), true); });
  SmallVector<Value> rest;
  for (auto [k, accumulator] : llvm::enumerate(all)) {
    auto chain = [&](size_t at) { return many[at * count + k]; };
    Value joined = accumulator.combine(accumulator.combine(one[k], chain(1)), accumulator.combine(chain(2), chain(3)));
    rest.push_back(b.reduce(joined, [&](Value x, Value y) { return accumulator.combine(x, y); }));
  }
  auto last = s.loop(vectors, size, 1, 1, rest, [&](Index i, ValueRange carried) { return combined(carried, i, false); });
  return Values(last.begin(), last.end());
}

//===----------------------------------------------------------------------===//
// llm.reduce
//===----------------------------------------------------------------------===//

/// Coordinates of the input with the reduced ones still open.
static ElementEmitter::Coordinates openCoordinates(ElementEmitter &e, ArrayRef<int64_t> axes, bool keepdims, size_t rank,
                                                   ArrayRef<Index> at) {
  ElementEmitter::Coordinates in(rank, e.scopes.constant(0));
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) {
    if (llvm::is_contained(axes, int64_t(i)))
      next += keepdims;
    else
      in[i] = at[next++];
  }
  return in;
}

Value ElementEmitter::emitReduce(llm::ReduceOp op, At at) {
  Value input = op.getInput();
  ArrayRef<SymExpr> sizes = dims(input);
  Coordinates in = openCoordinates(*this, op.getAxes(), op.getKeepdims(), sizes.size(), at);
  Accumulator accumulator{*this, op.getKind(), elementType(input)};
  bool lanes = !uniform(at);
  bool overLast = !op.getAxes().empty() && op.getAxes().back() + 1 == int64_t(sizes.size());
  std::function<Value(size_t, Value)> nest = [&](size_t k, Value sum) -> Value {
    if (k == op.getAxes().size())
      return accumulator.combine(sum, matchLanes(element(input, in), lanes));
    size_t axis = size_t(op.getAxes()[k]);
    Value size = scopes.scalar(scopes.dim(sizes[axis]));
    if (overLast && !lanes && k + 1 == op.getAxes().size()) {
      Value row = accumulator.overRange(size, [&](Index i) {
        in[axis] = i;
        return element(input, in);
      });
      return accumulator.combine(sum, row);
    }
    return scopes.loop(b.index(0), size, 1, 1, sum, [&](Index i, ValueRange carried) {
      in[axis] = i;
      return Values{nest(k + 1, carried[0])};
    })[0];
  };
  Value result = nest(0, accumulator.initial(lanes));
  if (op.getKind() != llm::ReduceKind::mean)
    return result;
  Dims reduced;
  for (int64_t axis : op.getAxes())
    reduced.push_back(sizes[size_t(axis)]);
  Value count = matchLanes(number(scopes.dim(product(reduced)), elementType(input)), lanes);
  if (isa<FloatType>(getElementTypeOrSelf(result.getType())))
    return b.fdiv(result, count);
  Value one = zero(elementType(input), lanes, 1); // the mean of nothing must not trap
  Value isZero = arith::CmpIOp::create(b.ops(), b.loc(), arith::CmpIPredicate::eq, count, zero(elementType(input), lanes));
  return arith::DivSIOp::create(b.ops(), b.loc(), result, b.select(isZero, one, count));
}

//===----------------------------------------------------------------------===//
// llm.arg_reduce
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitArgReduce(llm::ArgReduceOp op, At at) {
  Value input = op.getInput();
  ArrayRef<SymExpr> sizes = dims(input);
  int64_t axis = int64_t(op.getAxis());
  Coordinates in = openCoordinates(*this, axis, op.getKeepdims(), sizes.size(), at);
  bool lanes = !uniform(at);
  Accumulator accumulator{*this, op.getKind(), elementType(input)};
  Value size = scopes.scalar(scopes.dim(sizes[size_t(axis)]));
  Value none = zero(b.i64(), lanes);
  SmallVector<Value> initial{accumulator.initial(lanes), none};
  auto results = scopes.loop(b.index(0), size, 1, 1, initial, [&](Index i, ValueRange carried) {
    in[axis] = i;
    Value next = matchLanes(element(input, in), lanes);
    // Better than the best so far; with `last` also if equal. The first element always is taken (it may equal the start value).
    Value better = accumulator.improves(next, carried[0], op.getLast());
    Value first = b.equal(scopes.scalar(i), b.index(0));
    if (lanes)
      first = b.splat(first, b.vec(scopes.lanes, b.ops().getI1Type()));
    better = arith::OrIOp::create(b.ops(), b.loc(), better, first);
    Value position = matchLanes(scopes.scalar(i), lanes);
    return Values{b.select(better, next, carried[0]), b.select(better, position, carried[1])};
  });
  return results[1];
}

Value Accumulator::improves(Value next, Value best, bool orEqual) const {
  KernelBuilder &b = e.b;
  bool larger = kind == llm::ReduceKind::max;
  if (isa<FloatType>(registerType(elementType))) {
    using P = arith::CmpFPredicate;
    P predicate = larger ? (orEqual ? P::OGE : P::OGT) : (orEqual ? P::OLE : P::OLT);
    return arith::CmpFOp::create(b.ops(), b.loc(), predicate, next, best);
  }
  using P = arith::CmpIPredicate;
  auto integer = cast<IntegerType>(elementType);
  bool isUnsigned = integer.isUnsigned() || integer.getWidth() == 1;
  P predicate = larger ? (isUnsigned ? (orEqual ? P::uge : P::ugt) : (orEqual ? P::sge : P::sgt))
                       : (isUnsigned ? (orEqual ? P::ule : P::ult) : (orEqual ? P::sle : P::slt));
  return arith::CmpIOp::create(b.ops(), b.loc(), predicate, next, best);
}
