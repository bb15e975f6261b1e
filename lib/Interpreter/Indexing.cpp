//===- Indexing.cpp - elements chosen by index tensors --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

/// Product of dims [first, last).
static int64_t countOf(const Shape &shape, size_t first, size_t last) {
  return elementCount(Shape(shape.begin() + int64_t(first), shape.begin() + int64_t(last)));
}

static Result<Array> gather(GatherOp op, const Array &x, const Array &indices) {
  size_t axis = size_t(op.getAxis());
  if (axis >= x.shape.size())
    return shapeError(op, "axis out of range");
  Shape shape(x.shape.begin(), x.shape.begin() + int64_t(axis));
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + int64_t(axis) + 1, x.shape.end());
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result || result->size() == 0)
    return result;
  int64_t dim = x.shape[axis], outer = countOf(x.shape, 0, axis), inner = countOf(x.shape, axis + 1, x.shape.size());
  if (dim == 0)
    return shapeError(op, "there is nothing to choose from in " + x.typeName());
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    T *out = result->template data<T>().data();
    for (int64_t row = 0; row < outer; ++row)
      for (int64_t index : indices.ints)
        out = std::copy_n(x.data<T>().data() + (row * dim + clampIndex(index, dim)) * inner, inner, out);
  });
  return result;
}

/// Calls fn(place among the indices, offset in `shape`) for each element of `indices`, its coordinate at `axis` replaced
/// by the index.
template <typename Fn>
static void forEachIndexed(const Array &indices, const Shape &shape, size_t axis, Fn fn) {
  // True strides: an indexed dimension of size 1 is not repeated but always at 0.
  Shape strides = stridesOf(shape), walking = strides;
  walking[axis] = 0;
  forEachOffset<1>(indices.shape, {walking}, {0}, [&](int64_t at, const std::array<int64_t, 1> &base) {
    fn(at, base[0] + clampIndex(indices.ints[size_t(at)], shape[axis]) * strides[axis]);
  });
}

/// Whether `indices` fits into `shape` beside the axis, which gather_elements and scatter_elements need.
static bool fitsBeside(const Array &indices, const Shape &shape, size_t axis) {
  if (indices.shape.size() != shape.size() || axis >= shape.size())
    return false;
  for (size_t i = 0; i < shape.size(); ++i)
    if (i == axis ? shape[i] == 0 && indices.size() > 0 : indices.shape[i] > shape[i])
      return false;
  return true;
}

static Result<Array> gatherElements(GatherElementsOp op, const Array &x, const Array &indices) {
  size_t axis = size_t(op.getAxis());
  if (!fitsBeside(indices, x.shape, axis))
    return shapeError(op, indices.typeName() + " does not fit " + x.typeName());
  Result<Array> result = makeArray(x.dtype, indices.shape);
  if (!result)
    return result;
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    forEachIndexed(indices, x.shape, axis, [&](int64_t at, int64_t from) {
      result->template data<T>()[size_t(at)] = x.data<T>()[size_t(from)];
    });
  });
  return result;
}

/// Row-major offset of an index tuple in the dimensions of `shape` from `first` on; the rest of the dimensions is one slice.
static int64_t tupleOffset(const Shape &shape, size_t first, const int64_t *tuple, int64_t length) {
  int64_t offset = 0;
  for (int64_t i = 0; i < length; ++i)
    offset = offset * shape[first + size_t(i)] + clampIndex(tuple[i], shape[first + size_t(i)]);
  return offset;
}

static Result<Array> gatherND(GatherNDOp op, const Array &x, const Array &indices) {
  size_t batch = size_t(op.getBatchDims());
  int64_t length = indices.shape.empty() ? -1 : indices.shape.back();
  if (length < 0 || batch >= indices.shape.size() || batch + size_t(length) > x.shape.size() ||
      !std::equal(x.shape.begin(), x.shape.begin() + int64_t(batch), indices.shape.begin()))
    return shapeError(op, indices.typeName() + " does not index " + x.typeName());
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), x.shape.begin() + int64_t(batch) + length, x.shape.end());
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result || result->size() == 0)
    return result;
  int64_t batches = countOf(x.shape, 0, batch), perBatch = countOf(indices.shape, batch, indices.shape.size() - 1);
  int64_t slice = countOf(x.shape, batch + size_t(length), x.shape.size()), own = countOf(x.shape, batch, x.shape.size());
  if (own == 0)
    return shapeError(op, "there is nothing to choose from in " + x.typeName());
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    T *out = result->template data<T>().data();
    for (int64_t i = 0; i < batches * perBatch; ++i) {
      int64_t from = i / perBatch * own + tupleOffset(x.shape, batch, indices.ints.data() + i * length, length) * slice;
      out = std::copy_n(x.data<T>().data() + from, slice, out);
    }
  });
  return result;
}

//===----------------------------------------------------------------------===//
// Scatter
//===----------------------------------------------------------------------===//

template <typename T>
static void update(ScatterReduction reduction, DType dtype, T &old, T value) {
  switch (reduction) {
  case ScatterReduction::none:
    old = value;
    break;
  case ScatterReduction::add:
    if constexpr (std::is_same_v<T, double>)
      old = roundTo(dtype, old + value);
    else
      old = int64_t(uint64_t(old) + uint64_t(value));
    break;
  case ScatterReduction::mul:
    if constexpr (std::is_same_v<T, double>)
      old = roundTo(dtype, old * value);
    else
      old = int64_t(uint64_t(old) * uint64_t(value));
    break;
  case ScatterReduction::max:
    old = value > old || value != value ? value : old;
    break;
  case ScatterReduction::min:
    old = value < old || value != value ? value : old;
    break;
  }
}

static Result<Array> scatterElements(ScatterElementsOp op, const Array &x, const Array &indices, const Array &updates) {
  size_t axis = size_t(op.getAxis());
  if (!fitsBeside(indices, x.shape, axis) || updates.shape != indices.shape || updates.isFloat() != x.isFloat())
    return shapeError(op, indices.typeName() + " and " + updates.typeName() + " do not fit " + x.typeName());
  Array result = x;
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    forEachIndexed(indices, x.shape, axis, [&](int64_t at, int64_t to) {
      update(op.getReduction(), x.dtype, result.template data<T>()[size_t(to)], updates.data<T>()[size_t(at)]);
    });
  });
  return result;
}

static Result<Array> scatterND(ScatterNDOp op, const Array &x, const Array &indices, const Array &updates) {
  int64_t length = indices.shape.empty() ? -1 : indices.shape.back();
  if (length < 0 || size_t(length) > x.shape.size() || updates.isFloat() != x.isFloat())
    return shapeError(op, indices.typeName() + " does not index " + x.typeName());
  Shape expected(indices.shape.begin(), indices.shape.end() - 1);
  expected.insert(expected.end(), x.shape.begin() + length, x.shape.end());
  if (updates.shape != expected)
    return shapeError(op, "updates are " + updates.typeName() + ", which is not what the indices ask for");
  int64_t tuples = countOf(indices.shape, 0, indices.shape.size() - 1);
  int64_t slice = countOf(x.shape, size_t(length), x.shape.size());
  Array result = x;
  if (updates.size() == 0)
    return result;
  if (x.size() == 0)
    return shapeError(op, "there is nothing to write to in " + x.typeName());
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < tuples; ++i) {
      int64_t to = tupleOffset(x.shape, 0, indices.ints.data() + i * length, length) * slice;
      for (int64_t k = 0; k < slice; ++k)
        update(op.getReduction(), x.dtype, result.template data<T>()[size_t(to + k)], updates.data<T>()[size_t(i * slice + k)]);
    }
  });
  return result;
}

std::optional<Status> interpreter::runIndexing(mlir::Operation *op, Frame &frame) {
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  using Out = std::optional<Status>;
  auto out = [&](Result<Array> array) -> Out { return frame.out(op->getResult(0), std::move(array)); };
  return llvm::TypeSwitch<mlir::Operation *, Out>(op)
      .Case([&](GatherOp gather) { return out(::gather(gather, x(0), x(1))); })
      .Case([&](GatherElementsOp gather) { return out(gatherElements(gather, x(0), x(1))); })
      .Case([&](GatherNDOp gather) { return out(gatherND(gather, x(0), x(1))); })
      .Case([&](ScatterElementsOp scatter) { return out(scatterElements(scatter, x(0), x(1), x(2))); })
      .Case([&](ScatterNDOp scatter) { return out(scatterND(scatter, x(0), x(1), x(2))); })
      .Default([](mlir::Operation *) { return std::nullopt; });
}
