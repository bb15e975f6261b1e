//===- Reductions.cpp - many elements to one, scans, top k ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

/// The reduction of no elements, as the dialect has it.
template <typename T>
static T identity(ReduceKind kind, DType dtype) {
  if (kind == ReduceKind::sum || kind == ReduceKind::mean)
    return T(0);
  if (kind == ReduceKind::prod)
    return T(1);
  bool lowest = kind == ReduceKind::max;
  if constexpr (std::is_same_v<T, double>)
    return lowest ? -INFINITY : INFINITY;
  switch (dtype) {
  case DType::Bool:
    return !lowest;
  case DType::U64:
    return lowest ? 0 : -1;
  case DType::I64:
    return T(lowest ? INT64_MIN : INT64_MAX);
  default: {
    int64_t bits = dtypeBits(dtype);
    bool isUnsigned = dtypeName(dtype).front() == 'u';
    int64_t high = (int64_t(1) << (isUnsigned ? bits : bits - 1)) - 1;
    return T(!lowest ? high : isUnsigned ? 0 : -high - 1);
  }
  }
}

template <typename T>
static T combine(ReduceKind kind, DType dtype, T a, T b) {
  bool less = a < b;
  if (dtype == DType::U64)
    less = uint64_t(a) < uint64_t(b);
  switch (kind) {
  case ReduceKind::sum:
  case ReduceKind::mean:
    if constexpr (std::is_same_v<T, double>)
      return a + b;
    else
      return T(uint64_t(a) + uint64_t(b));
  case ReduceKind::prod:
    if constexpr (std::is_same_v<T, double>)
      return a * b;
    else
      return T(uint64_t(a) * uint64_t(b));
  case ReduceKind::max: // of a number and a NaN: NaN, whichever comes first
    return b != b || (a == a && less) ? b : a;
  case ReduceKind::min:
    return b != b || (a == a && !less) ? b : a;
  }
  return a;
}

static Result<Array> reduce(ReduceOp op, const Array &x) {
  Shape shape, kept = x.shape;
  for (int64_t axis : op.getAxes()) {
    if (axis < 0 || axis >= x.rank())
      return shapeError(op, "axis out of range");
    kept[size_t(axis)] = 1;
  }
  for (int64_t i = 0; i < x.rank(); ++i)
    if (op.getKeepdims() || !llvm::is_contained(op.getAxes(), i))
      shape.push_back(kept[size_t(i)]);
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result)
    return result;
  ReduceKind kind = op.getKind();
  int64_t count = result->size() ? x.size() / result->size() : 0;
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> &out = result->template data<T>();
    std::fill(out.begin(), out.end(), identity<T>(kind, x.dtype));
    const T *in = x.data<T>().data();
    forEachOffset<1>(x.shape, {stridesOf(kept)}, {0}, [&](int64_t at, const std::array<int64_t, 1> &to) {
      out[size_t(to[0])] = combine(kind, x.dtype, out[size_t(to[0])], in[at]);
    });
    if (kind == ReduceKind::mean)
      for (T &value : out)
        value = count ? value / T(count) : std::is_same_v<T, double> ? T(NAN) : T(0);
  });
  return result;
}

/// The lines along one axis: where each starts, how far its elements lie apart, how many there are.
struct Lines {
  int64_t outer = 1, length = 1, inner = 1;
  Lines(const Array &x, size_t axis) : length(x.shape[axis]) {
    for (size_t i = 0; i < x.shape.size(); ++i)
      if (i != axis)
        (i < axis ? outer : inner) *= x.shape[i];
  }
  int64_t count() const { return length ? outer * inner : 0; } // without elements there are no lines to point at
  int64_t start(int64_t line) const { return line / inner * length * inner + line % inner; }
};

/// a before b in a sorted row; NaN counts as the largest number.
template <typename T>
static bool ordered(T a, T b, DType dtype, bool largest) {
  if (a != a || b != b)
    return largest ? a != a && b == b : a == a && b != b;
  if (dtype == DType::U64)
    return largest ? uint64_t(a) > uint64_t(b) : uint64_t(a) < uint64_t(b);
  return largest ? a > b : a < b;
}

static Result<Array> argReduce(ArgReduceOp op, const Array &x) {
  size_t axis = size_t(op.getAxis());
  if (axis >= x.shape.size() || x.shape[axis] == 0)
    return shapeError(op, "no elements along the axis of " + x.typeName());
  Shape shape = x.shape;
  shape[axis] = 1;
  if (!op.getKeepdims())
    shape.erase(shape.begin() + int64_t(axis));
  Result<Array> result = makeArray(DType::I64, shape);
  if (!result)
    return result;
  Lines lines(x, axis);
  bool largest = op.getKind() == ReduceKind::max;
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t line = 0; line < result->size(); ++line) {
      const T *first = x.data<T>().data() + lines.start(line);
      int64_t best = 0;
      for (int64_t i = 1; i < lines.length; ++i) {
        T candidate = first[i * lines.inner], current = first[best * lines.inner];
        if (ordered(candidate, current, x.dtype, largest) || (op.getLast() && !ordered(current, candidate, x.dtype, largest)))
          best = i;
      }
      result->ints[size_t(line)] = best;
    }
  });
  return result;
}

static Result<Array> cumSum(CumSumOp op, const Array &x) {
  size_t axis = size_t(op.getAxis());
  if (axis >= x.shape.size())
    return shapeError(op, "axis out of range");
  Array result = x;
  Lines lines(x, axis);
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t line = 0; line < lines.count(); ++line) {
      T *first = result.template data<T>().data() + lines.start(line);
      T sum = 0;
      for (int64_t i = 0; i < lines.length; ++i) {
        T &element = first[(op.getReverse() ? lines.length - 1 - i : i) * lines.inner];
        T next = combine(ReduceKind::sum, x.dtype, sum, element);
        element = op.getExclusive() ? sum : next;
        sum = next;
      }
    }
  });
  return result;
}

static Status topK(TopKOp op, Frame &frame, const Array &x, const Array &count) {
  size_t axis = size_t(op.getAxis());
  int64_t k = count.size() == 1 ? count.ints[0] : -1;
  if (axis >= x.shape.size() || k < 0 || k > x.shape[axis])
    return shapeError(op, "k does not fit " + x.typeName());
  Shape shape = x.shape;
  shape[axis] = k;
  Result<Array> values = makeArray(x.dtype, shape), indices = makeArray(DType::I64, shape);
  if (!values)
    return values.status();
  Lines lines(x, axis), chosen(*values, axis);
  std::vector<int64_t> order(static_cast<size_t>(lines.length));
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t line = 0; line < chosen.count(); ++line) {
      const T *first = x.data<T>().data() + lines.start(line);
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        T left = first[a * lines.inner], right = first[b * lines.inner];
        bool before = ordered(left, right, x.dtype, op.getLargest());
        return before || (a < b && !ordered(right, left, x.dtype, op.getLargest()));
      });
      for (int64_t i = 0; i < k; ++i) {
        size_t to = size_t(chosen.start(line) + i * chosen.inner);
        values->template data<T>()[to] = first[order[size_t(i)] * lines.inner];
        indices->ints[to] = order[size_t(i)];
      }
    }
  });
  LLMOPT_RETURN_IF_ERROR(frame.out(op.getValues(), std::move(values)));
  return frame.out(op.getIndices(), std::move(indices));
}

std::optional<Status> interpreter::runReductions(mlir::Operation *op, Frame &frame) {
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  using Out = std::optional<Status>;
  return llvm::TypeSwitch<mlir::Operation *, Out>(op)
      .Case([&](ReduceOp reduce) -> Out { return frame.out(reduce.getResult(), ::reduce(reduce, x(0))); })
      .Case([&](ArgReduceOp reduce) -> Out { return frame.out(reduce.getResult(), argReduce(reduce, x(0))); })
      .Case([&](CumSumOp sum) -> Out { return frame.out(sum.getResult(), cumSum(sum, x(0))); })
      .Case([&](TopKOp top) -> Out { return topK(top, frame, x(0), x(1)); })
      .Default([](mlir::Operation *) { return std::nullopt; });
}
