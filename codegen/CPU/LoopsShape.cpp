//===- LoopsShape.cpp - elements of reshaped, cut and joined values -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LoopsEmitter.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/MathApproximationNumber.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

Value ElementEmitter::emitShapeOp(Operation *op, At at) {
  if (isView(op))
    return emitView(op, at);
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<llm::TransposeOp>([&](llm::TransposeOp transpose) {
        Coordinates in(at.size());
        for (auto [i, from] : llvm::enumerate(transpose.getPermutation()))
          in[from] = at[i];
        return element(transpose.getInput(), in);
      })
      .Case<llm::BroadcastOp>([&](llm::BroadcastOp broadcast) {
        return element(broadcast.getInput(), broadcastTo(dims(broadcast), at, dims(broadcast.getInput())));
      })
      .Case<llm::TileOp>([&](llm::TileOp tile) {
        Coordinates in;
        for (auto [i, size] : llvm::enumerate(dims(tile.getInput())))
          in.push_back(size == dims(tile)[i] ? at[i] : scopes.mod(at[i], scopes.dim(size)));
        return element(tile.getInput(), in);
      })
      .Case<llm::SliceOp>([&](llm::SliceOp slice) { return emitSlice(slice, at); })
      .Case<llm::ConcatOp>([&](llm::ConcatOp concat) { return emitConcat(concat, at); })
      .Case<llm::PadOp>([&](llm::PadOp pad) { return emitPad(pad, at); })
      .Case<llm::RangeOp>([&](llm::RangeOp range) { return emitRange(range, at); })
      .Case<llm::ShapeOp>([&](llm::ShapeOp shape) { return emitShape(shape, at); })
      .Default([&](Operation *) {
        fail(op, "has no element code");
        return Value();
      });
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

// Dimension lists of equal products split into the shortest runs of equal products; within a run the coordinates are joined
// to one number and taken apart again. Runs of one dimension on both sides keep their coordinate.
ElementEmitter::Coordinates ElementEmitter::regroup(ArrayRef<SymExpr> from, At at, ArrayRef<SymExpr> to) {
  Coordinates result;
  size_t i = 0, j = 0;
  while (j < to.size() || i < from.size()) {
    // The shortest prefixes from here on with equal products; the ends always match.
    size_t iEnd = from.size(), jEnd = to.size();
    bool found = false;
    SymExpr fromProduct = symbols().constant(1);
    for (size_t x = i; x <= from.size() && !found; ++x) {
      SymExpr toProduct = symbols().constant(1);
      for (size_t y = j; y <= to.size() && !found; ++y) {
        if (x + y > i + j && fromProduct == toProduct && (x > i || y > j)) {
          iEnd = x;
          jEnd = y;
          found = true;
        }
        if (y < to.size())
          toProduct = symbols().mul(toProduct, to[y]);
      }
      if (x < from.size())
        fromProduct = symbols().mul(fromProduct, from[x]);
    }
    if (iEnd - i == 1 && jEnd - j == 1) {
      result.push_back(at[i]);
    } else {
      Index rest = scopes.linearize(from.slice(i, iEnd - i), at.slice(i, iEnd - i));
      Coordinates parts(jEnd - j);
      for (size_t y = jEnd; y-- > j;) {
        bool first = llvm::all_of(to.slice(j, y - j), [](SymExpr d) { return d.isConstant(1); });
        Index size = scopes.dim(to[y]);
        parts[y - j] = to[y].isConstant(1) ? scopes.constant(0) : first ? rest : scopes.mod(rest, size);
        if (!first)
          rest = scopes.floorDiv(rest, size);
      }
      result.append(parts);
    }
    i = iEnd;
    j = jEnd;
  }
  return result;
}

Value ElementEmitter::emitView(Operation *op, At at) {
  Value source = peelViews(op->getResult(0));
  ArrayRef<SymExpr> from = dims(op->getResult(0));
  if (leafBase(source) && !overrides_.count(source))
    return load(source, scopes.linearize(from, at)); // contiguous in memory: no need to know its own coordinates
  if (auto windows = source.getDefiningOp<llm::WindowsOp>(); windows && !overrides_.count(source) && takesRowsApart(windows, from))
    return emitWindows(windows, at);
  return element(source, regroup(from, at, dims(source)));
}

/// Whether a view of `from` has a dimension for each of the kernel's, and one for channels.
bool ElementEmitter::takesRowsApart(llm::WindowsOp windows, ArrayRef<SymExpr> from) {
  ArrayRef<SymExpr> rows = dims(windows).drop_back();
  if (from.size() != 2 * rows.size() || !llvm::equal(from.take_front(rows.size()), rows))
    return false;
  for (auto [size, kernel] : llvm::zip(from.drop_front(rows.size()), windows.getKernel()))
    if (!size.isConstant(kernel))
      return false;
  return from.back() == dims(windows.getInput()).back();
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitSlice(llm::SliceOp op, At at) {
  Coordinates in(at.begin(), at.end());
  for (auto [i, axis, step] : llvm::zip_equal(llvm::seq<int64_t>(0, op.getAxes().size()), op.getAxes(), op.getSteps())) {
    Index start = sizeEntry(op.getStarts(), i), size = scopes.dim(dims(op.getInput())[axis]);
    if (start.constant && *start.constant < 0) {
      start = scopes.max(scopes.add(size, start), scopes.constant(0));
    } else if (!start.constant) {
      SymExpr known = shape(op.getStarts()).elements ? (*shape(op.getStarts()).elements)[i] : SymExpr();
      bool notNegative = known.known() && symbols().provenLessEqual(symbols().constant(0), known);
      if (!notNegative) {
        Value negative = scopes.less(start, scopes.constant(0));
        start = scopes.select(negative, start.level, scopes.add(start, size), start);
        start = scopes.max(start, scopes.constant(0));
      }
    }
    // Going down, a start past the end means the last element. Going up there would be no elements.
    if (step < 0)
      start = scopes.min(start, scopes.sub(size, scopes.constant(1)));
    in[axis] = scopes.add(start, scopes.mul(at[axis], scopes.constant(step)));
  }
  return element(op.getInput(), in);
}

//===----------------------------------------------------------------------===//
// Concatenation and padding
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitConcat(llm::ConcatOp op, At at) {
  int64_t axis = op.getAxis();
  Type type = registerType(elementType(op));
  bool lanes = !uniform(at);
  Type resultType = lanes ? Type(b.vec(scopes.lanes, type)) : type;
  // From the last operand to the first: `position < end ? this operand : the rest`.
  SmallVector<Index> ends;
  Index end = scopes.constant(0);
  for (Value input : op.getInputs())
    ends.push_back(end = scopes.add(end, scopes.dim(dims(input)[axis])));
  std::function<Value(size_t)> from = [&](size_t k) -> Value {
    Value input = op.getInputs()[k];
    Index begin = k ? ends[k - 1] : scopes.constant(0), size = scopes.dim(dims(input)[axis]);
    Coordinates in(at.begin(), at.end());
    in[axis] = scopes.sub(at[axis], begin);
    bool last = k + 1 == op.getInputs().size();
    if (scopes.lanesAgree(at[axis], begin) && (last || scopes.lanesAgree(at[axis], ends[k]))) {
      auto here = [&] { return matchLanes(element(input, in), lanes); };
      if (last)
        return here();
      return scopes.choose(scopes.baseLess(at[axis], ends[k]), resultType, here, [&] { return from(k + 1); });
    }
    // Lanes on both sides: read both, clamped to what exists; an operand without elements may not be read at all.
    in[axis] = scopes.max(scopes.min(in[axis], scopes.sub(size, scopes.constant(1))), scopes.constant(0));
    Value here;
    if (size.constant && *size.constant > 0)
      here = matchLanes(element(input, in), lanes);
    else
      here = scopes.choose(scopes.less(scopes.constant(0), size), resultType, [&] { return matchLanes(element(input, in), lanes); },
                           [&] { return zero(elementType(op), lanes); });
    if (last)
      return here;
    Value rest = from(k + 1);
    Value inside = scopes.less(at[axis], ends[k]);
    return b.select(inside, here, rest);
  };
  return from(0);
}

namespace {
/// A coordinate of a padded dimension led back into [0, size).
struct PadRules {
  LoopScopes &s;
  Index size;

  Index clamped(Index x) { return s.max(s.min(x, s.sub(size, s.constant(1))), s.constant(0)); }
  Index wrapped(Index x, Index period) { // remainder that is not negative; paddings are shorter than a few periods
    Index shifted = s.add(x, s.mul(period, s.constant(64)));
    return s.mod(shifted, period);
  }
  Index reflected(Index x) {
    Index last = s.sub(size, s.constant(1));
    Index period = s.max(s.add(last, last), s.constant(1));
    Index inside = wrapped(x, period);
    Index mirrored = s.sub(period, inside);
    return clamped(s.min(inside, mirrored));
  }
};
} // namespace

Value ElementEmitter::emitPad(llm::PadOp op, At at) {
  bool lanes = !uniform(at);
  Coordinates in;
  Value inside; // i1, scalar or by lane
  unsigned level = levelOf(at);
  auto require = [&](Value condition) {
    if (!inside) {
      inside = condition;
      return;
    }
    bool wide = isa<VectorType>(inside.getType()) || isa<VectorType>(condition.getType());
    auto match = [&](Value v) { return matchLanes(v, wide); };
    inside = scopes.at(level, [&] { return Value(arith::AndIOp::create(b.ops(), b.loc(), match(inside), match(condition))); });
  };
  for (auto [i, size] : llvm::enumerate(dims(op.getInput()))) {
    SymExpr before;
    if (const auto &known = shape(op.getPads()).elements)
      before = (*known)[i];
    if (before.isConstant(0) && size == dims(op)[i]) { // not padded
      in.push_back(at[i]);
      continue;
    }
    Index extent = scopes.dim(size), x = scopes.sub(at[i], sizeEntry(op.getPads(), int64_t(i)));
    PadRules rules{scopes, extent};
    switch (op.getMode()) {
    case llm::PadMode::constant:
      require(scopes.less(x, extent));
      require(scopes.less(scopes.constant(-1), x));
      in.push_back(rules.clamped(x));
      break;
    case llm::PadMode::edge: in.push_back(rules.clamped(x)); break;
    case llm::PadMode::wrap: in.push_back(rules.wrapped(x, extent)); break;
    case llm::PadMode::reflect: in.push_back(rules.reflected(x)); break;
    }
  }
  if (!inside)
    return element(op.getInput(), in);
  // An input without elements may not be read.
  Index elements = scopes.dim(product(dims(op.getInput())));
  Type type = registerType(elementType(op));
  Type resultType = lanes ? Type(b.vec(scopes.lanes, type)) : type;
  Value value;
  if (elements.constant && *elements.constant > 0)
    value = matchLanes(element(op.getInput(), in), lanes);
  else
    value = scopes.choose(scopes.less(scopes.constant(0), elements), resultType, [&] { return matchLanes(element(op.getInput(), in), lanes); },
                          [&] { return zero(elementType(op), lanes); });
  Value fill = matchLanes(element(op.getValue(), {}), lanes);
  return b.select(inside, value, fill);
}

//===----------------------------------------------------------------------===//
// Numbers from coordinates
//===----------------------------------------------------------------------===//

Value ElementEmitter::emitRange(llm::RangeOp op, At at) {
  Value start = element(op.getStart(), {}), delta = element(op.getDelta(), {});
  Value i = number(at[0], elementType(op));
  bool lanes = isa<VectorType>(i.getType());
  start = matchLanes(start, lanes);
  delta = matchLanes(delta, lanes);
  if (isa<FloatType>(i.getType()) || isa<FloatType>(getElementTypeOrSelf(i.getType())))
    return b.fma(i, delta, start);
  Value product = arith::MulIOp::create(b.ops(), b.loc(), i, delta);
  return arith::AddIOp::create(b.ops(), b.loc(), start, product);
}

Value ElementEmitter::emitShape(llm::ShapeOp op, At at) {
  ArrayRef<SymExpr> sizes = dims(op.getInput());
  if (sizes.empty())
    return zero(elementType(op), !uniform(at));
  if (at[0].constant && size_t(*at[0].constant) < sizes.size())
    return scopes.scalar(scopes.dim(sizes[size_t(*at[0].constant)]));
  Index result = scopes.dim(sizes[0]);
  for (size_t i = 1; i < sizes.size(); ++i) {
    Index bound = scopes.constant(int64_t(i));
    result = scopes.select(scopes.less(at[0], bound), at[0].level, result, scopes.dim(sizes[i]));
  }
  return scopes.materialize(result);
}
