//===- LoopsIndex.cpp - coordinates of elements ---------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LoopsIndex.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

//===----------------------------------------------------------------------===//
// Loops and conditions
//===----------------------------------------------------------------------===//

LoopScopes::Outside::Outside(LoopScopes &scopes, unsigned level) : scopes_(scopes), guard_(scopes.b.ops()) {
  if (level >= scopes.depth())
    return;
  scopes.b.ops().setInsertionPoint(scopes.anchors_[level]);
  anchors_.assign(scopes.anchors_.begin() + level, scopes.anchors_.end());
  scopes.anchors_.truncate(level);
  std::move(scopes.levels_.begin() + level + 1, scopes.levels_.end(), std::back_inserter(levels_));
  scopes.levels_.resize(level + 1);
}

LoopScopes::Outside::~Outside() {
  scopes_.anchors_.append(anchors_);
  std::move(levels_.begin(), levels_.end(), std::back_inserter(scopes_.levels_));
}

void LoopScopes::enter(Operation *anchor) {
  anchors_.push_back(anchor);
  levels_.emplace_back();
}

void LoopScopes::leave() {
  anchors_.pop_back();
  levels_.pop_back();
}

Value LoopScopes::knownElement(const ElementKey &key) const {
  for (const Level &level : levels_)
    if (auto it = level.elements.find(key); it != level.elements.end())
      return it->second;
  return {};
}

void LoopScopes::rememberElement(unsigned level, ElementKey key, Value element) {
  levels_[std::min(place(level), depth())].elements.emplace(std::move(key), element);
}

KernelBuilder::Values LoopScopes::loop(Value lower, Value upper, int64_t step, int64_t factor, ValueRange initial,
                                       function_ref<Values(Index, ValueRange)> body) {
  return b.forLoop(lower, upper, step, initial, [&](Value iv, ValueRange carried) {
    enter(b.ops().getInsertionBlock()->getParentOp());
    Values results = body(wrap(iv, depth(), factor), carried);
    leave();
    return results;
  });
}

void LoopScopes::loop(Value lower, Value upper, int64_t step, int64_t factor, function_ref<void(Index)> body) {
  loop(lower, upper, step, factor, ValueRange{}, [&](Index iv, ValueRange) {
    body(iv);
    return Values{};
  });
}

Value LoopScopes::choose(Value condition, Type type, function_ref<Value()> then, function_ref<Value()> otherwise) {
  auto branch = [&](function_ref<Value()> make) {
    return [this, make] {
      enter(b.ops().getInsertionBlock()->getParentOp());
      unsigned outer = std::exchange(floor_, depth());
      Value result = make();
      floor_ = outer;
      leave();
      return Values{result};
    };
  };
  auto first = branch(then), second = branch(otherwise);
  return b.ifThen(condition, type, first, second)[0];
}

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

Index LoopScopes::constant(int64_t value) const {
  Index index;
  index.constant = value;
  index.factor = value; // everything divides 0
  return index;
}

Index LoopScopes::dim(SymExpr expr) {
  if (!expr.known()) {
    sawUnknown = true;
    return constant(1);
  }
  if (auto value = expr.constant())
    return constant(*value);
  return wrap(b.dim(expr), 0);
}

Index LoopScopes::wrap(Value value, unsigned level, int64_t factor) const {
  Index index;
  index.kind = isa<VectorType>(value.getType()) ? Index::Kind::Varying : Index::Kind::Uniform;
  index.value = value;
  index.level = level;
  index.factor = factor;
  if (auto known = value.getDefiningOp<arith::ConstantIntOp>(); known && index.uniform())
    return constant(known.value());
  return index;
}

Index LoopScopes::contiguous(Index base) const {
  if (lanes == 1)
    return base;
  Index index = base;
  index.kind = Index::Kind::Contiguous;
  return index;
}

Value LoopScopes::scalar(Index x) { return x.constant ? b.index(*x.constant) : x.value; }

Value LoopScopes::vector(Index x) {
  if (x.kind == Index::Kind::Varying)
    return x.value;
  return at(x.level, [&]() -> Value {
    VectorType type = b.vec(lanes, b.i64());
    bool isContiguous = x.kind == Index::Kind::Contiguous;
    Value base = x.constant && !isContiguous ? b.index(*x.constant) : scalar(x);
    Value repeated = b.splat(base, type);
    if (!isContiguous)
      return repeated;
    SmallVector<int64_t> steps(lanes);
    std::iota(steps.begin(), steps.end(), 0);
    Value lane = arith::ConstantOp::create(b.ops(), b.loc(), DenseElementsAttr::get(type, ArrayRef<int64_t>(steps)));
    return arith::AddIOp::create(b.ops(), b.loc(), repeated, lane);
  });
}

Value LoopScopes::apply(Op op, Value x, Value y) {
  if (!isa<VectorType>(x.getType())) {
    switch (op) {
    case Op::Add: return b.add(x, y);
    case Op::Sub: return b.sub(x, y);
    case Op::Mul: return b.mul(x, y);
    case Op::Div: return b.floorDiv(x, y);
    case Op::Mod: return b.mod(x, y);
    case Op::Min: return b.min(x, y);
    case Op::Max: return b.max(x, y);
    }
  }
  OpBuilder &ops = b.ops();
  switch (op) {
  case Op::Add: return arith::AddIOp::create(ops, b.loc(), x, y);
  case Op::Sub: return arith::SubIOp::create(ops, b.loc(), x, y);
  case Op::Mul: return arith::MulIOp::create(ops, b.loc(), x, y);
  case Op::Div: return arith::DivUIOp::create(ops, b.loc(), x, y);
  case Op::Mod: return arith::RemUIOp::create(ops, b.loc(), x, y);
  case Op::Min: return arith::MinSIOp::create(ops, b.loc(), x, y);
  case Op::Max: return arith::MaxSIOp::create(ops, b.loc(), x, y);
  }
  return {};
}

Index LoopScopes::binary(Op op, Index x, Index y, Index::Kind kind, int64_t factor) {
  unsigned level = place(std::max(x.level, y.level));
  // A division may run before the loop that would not run at all, and must not trap there.
  if ((op == Op::Div || op == Op::Mod) && !y.constant)
    y = max(y, constant(1));
  BinaryKey key{op, x.key(), y.key()};
  for (const Level &known : levels_)
    if (auto it = known.arithmetic.find(key); it != known.arithmetic.end() && it->second.kind == kind)
      return it->second;
  Index result = at(level, [&] {
    bool lanewise = kind == Index::Kind::Varying;
    Index made = wrap(lanewise ? apply(op, vector(x), vector(y)) : apply(op, scalar(x), scalar(y)), level, factor);
    made.kind = kind;
    return made;
  });
  levels_[std::min(level, depth())].arithmetic.emplace(key, result);
  return result;
}

static Index::Kind wider(Index x, Index y) {
  return x.uniform() && y.uniform() ? Index::Kind::Uniform : Index::Kind::Varying;
}

Index LoopScopes::add(Index x, Index y) {
  if (x.is(0))
    return y;
  if (y.is(0))
    return x;
  if (x.constant && y.constant)
    return constant(*x.constant + *y.constant);
  using Kind = Index::Kind;
  Kind kind = x.uniform() ? y.kind : y.uniform() ? x.kind : Kind::Varying;
  return binary(Op::Add, x, y, kind, std::gcd(x.factor, y.factor));
}

Index LoopScopes::sub(Index x, Index y) {
  if (y.is(0))
    return x;
  if (x.constant && y.constant)
    return constant(*x.constant - *y.constant);
  return binary(Op::Sub, x, y, y.uniform() ? x.kind : Index::Kind::Varying, std::gcd(x.factor, y.factor));
}

Index LoopScopes::mul(Index x, Index y) {
  if (x.constant && y.constant)
    return constant(*x.constant * *y.constant);
  if (x.is(0) || y.is(1))
    return x;
  if (y.is(0) || x.is(1))
    return y;
  return binary(Op::Mul, x, y, wider(x, y), x.factor * y.factor);
}

Index LoopScopes::floorDiv(Index x, Index y) {
  if (y.is(1) || x.is(0))
    return x;
  if (x.constant && y.constant && *y.constant)
    return constant(*x.constant / *y.constant);
  // Lanes from a multiple of the vector length on stay within one multiple of y, if that is a multiple too.
  bool together = x.kind == Index::Kind::Contiguous && y.constant && *y.constant && *y.constant % lanes == 0 && x.factor % lanes == 0;
  int64_t factor = y.constant && *y.constant && x.factor % *y.constant == 0 ? std::max<int64_t>(1, x.factor / *y.constant) : 1;
  return binary(Op::Div, x, y, together ? Index::Kind::Uniform : wider(x, y), factor);
}

Index LoopScopes::mod(Index x, Index y) {
  if (y.is(1))
    return constant(0);
  if (x.constant && y.constant && *y.constant)
    return constant(*x.constant % *y.constant);
  bool together = x.kind == Index::Kind::Contiguous && y.constant && *y.constant && *y.constant % lanes == 0 && x.factor % lanes == 0;
  return binary(Op::Mod, x, y, together ? Index::Kind::Contiguous : wider(x, y), std::gcd(x.factor, y.factor));
}

Index LoopScopes::min(Index x, Index y) {
  if (x.constant && y.constant)
    return constant(std::min(*x.constant, *y.constant));
  return binary(Op::Min, x, y, wider(x, y), 1);
}

Index LoopScopes::max(Index x, Index y) {
  if (x.constant && y.constant)
    return constant(std::max(*x.constant, *y.constant));
  return binary(Op::Max, x, y, wider(x, y), 1);
}

Index LoopScopes::select(Value condition, unsigned level, Index x, Index y) {
  level = place(std::max({level, x.level, y.level}));
  bool lanewise = isa<VectorType>(condition.getType()) || x.kind != y.kind || x.kind == Index::Kind::Varying;
  return at(level, [&] {
    Value chosen = lanewise ? b.select(condition, vector(x), vector(y)) : b.select(condition, scalar(x), scalar(y));
    Index result = wrap(chosen, level, std::gcd(x.factor, y.factor));
    if (!lanewise)
      result.kind = x.kind;
    return result;
  });
}

Value LoopScopes::less(Index x, Index y) {
  return at(std::max(x.level, y.level), [&]() -> Value {
    if (x.uniform() && y.uniform())
      return b.less(scalar(x), scalar(y));
    return arith::CmpIOp::create(b.ops(), b.loc(), arith::CmpIPredicate::slt, vector(x), vector(y));
  });
}

bool LoopScopes::lanesAgree(Index x, Index bound) const {
  if (!bound.uniform())
    return false;
  return x.uniform() || (x.kind == Index::Kind::Contiguous && x.factor % lanes == 0 && bound.factor % lanes == 0);
}

Value LoopScopes::baseLess(Index x, Index y) {
  return at(std::max(x.level, y.level), [&] { return b.less(scalar(x), scalar(y)); });
}

Index LoopScopes::linearize(ArrayRef<SymExpr> dims, ArrayRef<Index> at) {
  Index offset = constant(0);
  for (auto [size, index] : llvm::zip_equal(dims, at))
    offset = add(mul(offset, dim(size)), index);
  return offset;
}
