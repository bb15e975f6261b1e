//===- LoopsContract.cpp - products, convolution, rotation by element -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The plain form, for what the matrix families do not take: integer products, odd layouts, small convolutions, rotary
// positions outside of attention.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/LoopsReduce.h"
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationNumber.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

Value ElementEmitter::emitContraction(Operation *op, At at) {
  if (auto matmul = dyn_cast<llm::MatMulOp>(op))
    return emitMatMul(matmul, at);
  if (auto linear = dyn_cast<llm::LinearOp>(op))
    return emitLinear(linear, at);
  if (auto conv = dyn_cast<llm::ConvOp>(op))
    return emitConv(conv, at);
  if (auto windows = dyn_cast<llm::WindowsOp>(op)) {
    Coordinates apart(at.drop_back());
    Dims row;
    for (int64_t size : windows.getKernel())
      row.push_back(symbols().constant(size));
    row.push_back(dims(windows.getInput()).back());
    apart.append(regroup(dims(windows).take_back(1), at.take_back(1), row));
    return emitWindows(windows, apart);
  }
  return emitRope(cast<llm::RopeOp>(op), at);
}

/// A register value of `from` as one of `to`, both integers (by sign extension) or both floats.
static Value widen(KernelBuilder &b, Value value, Type from, Type to) {
  Type source = registerType(from), target = registerType(to);
  if (source == target)
    return value;
  Type type = withElement(value.getType(), target);
  bool larger = target.getIntOrFloatBitWidth() > source.getIntOrFloatBitWidth();
  if (isa<FloatType>(target))
    return larger ? Value(arith::ExtFOp::create(b.ops(), b.loc(), type, value))
                  : Value(arith::TruncFOp::create(b.ops(), b.loc(), type, value));
  bool isUnsigned = cast<IntegerType>(from).isUnsigned();
  if (!larger)
    return arith::TruncIOp::create(b.ops(), b.loc(), type, value);
  return isUnsigned ? Value(arith::ExtUIOp::create(b.ops(), b.loc(), type, value))
                    : Value(arith::ExtSIOp::create(b.ops(), b.loc(), type, value));
}

namespace {
/// sum + x * y in the result's type.
struct Product {
  ElementEmitter &e;
  Type result;
  bool lanes;

  Value term(Value sum, Value x, Type xType, Value y, Type yType) {
    KernelBuilder &b = e.b;
    x = e.matchLanes(widen(b, x, xType, result), lanes);
    y = e.matchLanes(widen(b, y, yType, result), lanes);
    if (isa<FloatType>(registerType(result)))
      return b.fma(x, y, sum);
    return arith::AddIOp::create(b.ops(), b.loc(), sum, arith::MulIOp::create(b.ops(), b.loc(), x, y));
  }
};
} // namespace

Value ElementEmitter::emitMatMul(llm::MatMulOp op, At at) {
  Value lhs = op.getLhs(), rhs = op.getRhs();
  ArrayRef<SymExpr> left = dims(lhs), right = dims(rhs), to = dims(op);
  bool leftRow = left.size() == 1, rightColumn = right.size() == 1;
  size_t batch = to.size() - (leftRow ? 0 : 1) - (rightColumn ? 0 : 1);
  auto batchAt = [&](ArrayRef<SymExpr> from) {
    return from.size() < 2 ? Coordinates() : broadcastTo(to.take_front(batch), at.take_front(batch), from.drop_back(2));
  };
  Coordinates l = batchAt(left), r = batchAt(right);
  if (!leftRow)
    l.push_back(at[batch]);
  Product product{*this, elementType(op), !uniform(at)};
  Value depth = scopes.scalar(scopes.dim(left.back()));
  return scopes.loop(b.index(0), depth, 1, 1, zero(elementType(op), product.lanes), [&](Index k, ValueRange carried) {
    Coordinates x(l), y(r);
    x.push_back(k);
    y.push_back(k);
    if (!rightColumn)
      y.push_back(at.back());
    return Values{product.term(carried[0], element(lhs, x), elementType(lhs), element(rhs, y), elementType(rhs))};
  })[0];
}

Value ElementEmitter::emitLinear(llm::LinearOp op, At at) {
  Value input = op.getInput(), weight = op.getWeight();
  Product product{*this, elementType(op), !uniform(at)};
  Value sum = zero(elementType(op), product.lanes);
  if (op.getBias())
    sum = matchLanes(widen(b, element(op.getBias(), at.back()), elementType(op.getBias()), elementType(op)), product.lanes);
  Value depth = scopes.scalar(scopes.dim(dims(input).back()));
  return scopes.loop(b.index(0), depth, 1, 1, sum, [&](Index k, ValueRange carried) {
    Coordinates x(at.drop_back()), y{at.back(), k};
    x.push_back(k);
    if (op.getTransposed())
      std::swap(y[0], y[1]);
    return Values{product.term(carried[0], element(input, x), elementType(input), element(weight, y), elementType(weight))};
  })[0];
}

//===----------------------------------------------------------------------===//
// llm.conv
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitConv(llm::ConvOp op, At at) {
  Value input = op.getInput(), weight = op.getWeight();
  ArrayRef<SymExpr> in = dims(input), kernel = dims(weight), out = dims(op);
  size_t spatial = in.size() - 2;
  bool lanes = !uniform(at);
  Product product{*this, elementType(op), lanes};
  Value sum = zero(elementType(op), lanes);
  if (op.getBias())
    sum = matchLanes(widen(b, element(op.getBias(), at[1]), elementType(op.getBias()), elementType(op)), lanes);
  // Output channels of one group share its input channels.
  SymExpr groups = symbols().constant(op.getGroups());
  Index group = scopes.floorDiv(at[1], scopes.dim(symbols().floorDiv(out[1], groups)));
  Index firstChannel = scopes.mul(group, scopes.dim(kernel[1]));
  Coordinates x{at[0], firstChannel}, w{at[1], scopes.constant(0)};
  x.resize(in.size());
  w.resize(in.size());
  Value inside;
  std::function<Value(size_t, Value)> nest = [&](size_t k, Value total) -> Value {
    if (k == in.size()) {
      Value value = matchLanes(element(input, x), lanes);
      if (inside)
        value = b.select(inside, value, zero(elementType(input), lanes));
      return product.term(total, value, elementType(input), element(weight, w), elementType(weight));
    }
    Value size = scopes.scalar(scopes.dim(kernel[k]));
    return scopes.loop(b.index(0), size, 1, 1, total, [&](Index i, ValueRange carried) {
      w[k] = i;
      Value outer = inside;
      if (k == 1) {
        x[1] = scopes.add(firstChannel, i);
      } else {
        Index position = scopes.add(scopes.mul(at[k], scopes.constant(op.getStrides()[k - 2])),
                                    scopes.mul(i, scopes.constant(op.getDilations()[k - 2])));
        bool padded = op.getPads()[k - 2] || op.getPads()[k - 2 + spatial];
        x[k] = scopes.sub(position, scopes.constant(op.getPads()[k - 2]));
        if (padded) {
          Index last = scopes.sub(scopes.dim(in[k]), scopes.constant(1));
          Value low = scopes.less(scopes.constant(-1), x[k]), high = scopes.less(x[k], scopes.dim(in[k]));
          Value here = arith::AndIOp::create(b.ops(), b.loc(), low, high);
          bool wide = lanes && (isa<VectorType>(here.getType()) || (outer && isa<VectorType>(outer.getType())));
          inside = outer ? Value(arith::AndIOp::create(b.ops(), b.loc(), matchLanes(outer, wide), matchLanes(here, wide))) : here;
          x[k] = scopes.max(scopes.min(x[k], last), scopes.constant(0));
        }
      }
      Value result = nest(k + 1, carried[0]);
      inside = outer;
      return Values{result};
    })[0];
  };
  return nest(1, sum);
}

//===----------------------------------------------------------------------===//
// llm.windows
//===----------------------------------------------------------------------===//

/// `at`: of batch, window, position in the kernel and channel.
Value ElementEmitter::emitWindows(llm::WindowsOp op, At at) {
  Value input = op.getInput(), inside;
  size_t spatial = op.getKernel().size();
  Coordinates x{at.front()};
  for (size_t i = 0; i < spatial; ++i) {
    SymExpr size = dims(input)[i + 1];
    Index position = scopes.add(scopes.mul(at[i + 1], scopes.constant(op.getStrides()[i])), scopes.mul(at[i + 1 + spatial], scopes.constant(op.getDilations()[i])));
    position = scopes.sub(position, scopes.constant(op.getPads()[i]));
    if (op.getPads()[i] || op.getPads()[i + spatial]) {
      Value low = scopes.less(scopes.constant(-1), position), high = scopes.less(position, scopes.dim(size));
      bool lanes = isa<VectorType>(low.getType()) || isa<VectorType>(high.getType()) || (inside && isa<VectorType>(inside.getType()));
      for (Value condition : {low, high})
        inside = inside ? Value(arith::AndIOp::create(b.ops(), b.loc(), matchLanes(inside, lanes), matchLanes(condition, lanes))) : condition;
      position = scopes.max(scopes.min(position, scopes.sub(scopes.dim(size), scopes.constant(1))), scopes.constant(0));
    }
    x.push_back(position);
  }
  x.push_back(at.back());
  Value value = element(input, x);
  if (!inside)
    return value;
  bool lanes = isa<VectorType>(inside.getType()) || isa<VectorType>(value.getType());
  return b.select(inside, matchLanes(value, lanes), zero(elementType(input), lanes));
}

//===----------------------------------------------------------------------===//
// llm.rope
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitRope(llm::RopeOp op, At at) {
  // Feature d < R is rotated with its partner by the angle of their pair; the rest passes.
  Value input = op.getInput();
  Index d = at.back(), pairs = scopes.dim(dims(op.getFrequencies())[0]), one = scopes.constant(1), two = scopes.constant(2);
  Index rotated = scopes.mul(pairs, two);
  Index pair, partner;
  Value isFirst;
  unsigned level = d.level;
  if (op.getInterleaved()) {
    pair = scopes.floorDiv(d, two);
    Index second = scopes.mod(d, two);
    isFirst = scopes.less(second, one);
    partner = scopes.select(isFirst, level, scopes.add(d, one), scopes.sub(d, one));
  } else {
    isFirst = scopes.lanesAgree(d, pairs) ? scopes.baseLess(d, pairs) : scopes.less(d, pairs);
    partner = scopes.select(isFirst, level, scopes.add(d, pairs), scopes.sub(d, pairs));
    pair = scopes.select(isFirst, level, d, scopes.sub(d, pairs));
  }
  // Beyond R nothing is rotated; keep the coordinates inside what exists.
  SymExpr width = dims(input).back(), twice = symbols().mul(dims(op.getFrequencies())[0], symbols().constant(2));
  bool partial = !(width == twice);
  if (partial) {
    pair = scopes.min(pair, scopes.sub(pairs, one));
    partner = scopes.max(scopes.min(partner, scopes.sub(scopes.dim(width), one)), scopes.constant(0));
  }
  Coordinates other(at.begin(), at.end());
  other.back() = partner;
  bool lanes = !uniform(at);
  Value x = matchLanes(element(input, at), lanes), y = matchLanes(element(input, other), lanes);
  Index position = at[0];
  Value token = element(op.getPositions(), position);
  Value p = arith::SIToFPOp::create(b.ops(), b.loc(), withElement(token.getType(), b.f32()), token);
  Value frequency = element(op.getFrequencies(), pair);
  bool angleLanes = isa<VectorType>(p.getType()) || isa<VectorType>(frequency.getType());
  Value angle = b.fmul(matchLanes(p, angleLanes), matchLanes(frequency, angleLanes));
  auto [sine, cosine] = emitSinCos(b, angle);
  Value scale = b.constant(sine.getType(), op.getScale().convertToDouble());
  sine = matchLanes(b.fmul(sine, scale), lanes);
  cosine = matchLanes(b.fmul(cosine, scale), lanes);
  Number nx(b, x), ny(b, y), s(b, sine), c(b, cosine);
  Number signedSine = s.where(isFirst, -s);
  Number result = nx * c + ny * signedSine;
  if (!partial)
    return result.v;
  Value turns = scopes.less(d, rotated);
  return nx.where(turns, result).v;
}
