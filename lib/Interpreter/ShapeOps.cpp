//===- ShapeOps.cpp - constants, weights, the same elements in another shape
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

static Status runWeight(WeightOp op, Frame &frame) {
  std::string name = op.getName().str();
  if (frame.weightCache)
    if (auto it = frame.weightCache->find(name); it != frame.weightCache->end()) {
      frame.bind(op.getResult(), it->second);
      return {};
    }
  const StoredWeight *weight = frame.weights.find(name);
  if (!weight)
    return badInput("E0706", "the weight store has no tensor '" + name + "'", describe(op));
  auto count = checkedElementCount({weight->shape.data(), weight->shape.size()});
  auto bytes = count ? checkedMul(uint64_t(*count), dtypeSize(weight->dtype)) : std::nullopt;
  if (!bytes || *bytes != weight->bytes.size())
    return badInput("E0706", "the bytes of weight '" + name + "' do not match its shape", describe(op));
  LLMOPT_RETURN_IF_ERROR(frame.out(op.getResult(), fromBytes(weight->dtype, weight->shape, weight->bytes.data())));
  if (frame.weightCache)
    frame.weightCache->emplace(name, frame.share(op.getResult()));
  return {};
}

static Result<Array> reshape(ReshapeOp op, const Array &x, const Array &entries) {
  Shape shape;
  std::optional<size_t> open;
  int64_t known = 1;
  for (size_t i = 0; i < entries.ints.size(); ++i) {
    int64_t dim = entries.ints[i];
    if (dim == 0 && !op.getAllowzero())
      dim = i < x.shape.size() ? x.shape[i] : -2;
    if (dim < -1 || (dim == -1 && open))
      return shapeError(op, "the shape operand cannot be followed for " + x.typeName());
    if (dim == -1)
      open = i;
    else if (__builtin_mul_overflow(known, dim, &known))
      return shapeError(op, "the shape operand overflows");
    shape.push_back(dim);
  }
  if (open)
    shape[*open] = known ? x.size() / known : 0;
  std::optional<int64_t> count = checkedElementCount({shape.data(), shape.size()});
  if (!count || *count != x.size())
    return shapeError(op, x.typeName() + " has another number of elements than the shape asks for");
  Array result = x;
  result.shape = std::move(shape);
  return result;
}

static Result<Array> reshaped(const Array &x, Shape shape) {
  Array result = x;
  result.shape = std::move(shape);
  return result;
}

static Result<Array> expandDims(ExpandDimsOp op, const Array &x) {
  Shape shape = x.shape;
  for (int64_t axis : op.getAxes()) {
    if (axis < 0 || axis > int64_t(shape.size()))
      return shapeError(op, "axis out of range");
    shape.insert(shape.begin() + axis, 1);
  }
  return reshaped(x, std::move(shape));
}

static Result<Array> squeeze(SqueezeOp op, const Array &x) {
  Shape shape;
  for (int64_t i = 0; i < x.rank(); ++i) {
    bool removed = llvm::is_contained(op.getAxes(), i);
    if (removed && x.shape[size_t(i)] != 1)
      return shapeError(op, "dimension " + std::to_string(i) + " of " + x.typeName() + " is not 1");
    if (!removed)
      shape.push_back(x.shape[size_t(i)]);
  }
  return reshaped(x, std::move(shape));
}

static Result<Array> flatten(FlattenOp op, const Array &x) {
  int64_t axis = op.getAxis(), rows = 1, columns = 1;
  if (axis < 0 || axis > x.rank())
    return shapeError(op, "axis out of range");
  for (int64_t i = 0; i < x.rank(); ++i)
    (i < axis ? rows : columns) *= x.shape[size_t(i)];
  return reshaped(x, {rows, columns});
}

static Result<Array> transpose(TransposeOp op, const Array &x) {
  Shape shape, strides, all = stridesOf(x.shape);
  for (int64_t axis : op.getPermutation()) {
    if (axis < 0 || axis >= x.rank() || int64_t(op.getPermutation().size()) != x.rank())
      return shapeError(op, "the permutation does not fit " + x.typeName());
    shape.push_back(x.shape[size_t(axis)]);
    strides.push_back(all[size_t(axis)]);
  }
  return takeStrided(x, shape, strides);
}

static Result<Array> broadcast(BroadcastOp op, const Array &x, const Array &target) {
  std::optional<Shape> shape = broadcastShape(x.shape, target.ints);
  if (!shape)
    return shapeError(op, x.typeName() + " does not broadcast to the shape");
  return takeStrided(x, *shape, broadcastStrides(x.shape, shape->size()));
}

static Result<Array> tile(TileOp op, const Array &x, const Array &repeats) {
  if (repeats.size() != x.rank())
    return shapeError(op, "as many repeats as dimensions are needed");
  // Each dimension d becomes [repeats, d] with stride 0 in front; the pair is joined afterwards.
  Shape split, strides, shape, own = stridesOf(x.shape);
  for (size_t i = 0; i < x.shape.size(); ++i) {
    split.insert(split.end(), {repeats.ints[i], x.shape[i]});
    strides.insert(strides.end(), {0, own[i]});
    int64_t joined;
    if (__builtin_mul_overflow(repeats.ints[i], x.shape[i], &joined))
      return shapeError(op, "repeats too large");
    shape.push_back(joined);
  }
  Result<Array> result = takeStrided(x, split, strides);
  if (result)
    result->shape = std::move(shape);
  return result;
}

static Result<Array> slice(SliceOp op, const Array &x, const Array &starts, const Array &ends) {
  Shape shape = x.shape, strides = stridesOf(x.shape);
  int64_t offset = 0;
  for (auto [i, axis] : llvm::enumerate(op.getAxes())) {
    if (axis < 0 || axis >= x.rank() || int64_t(i) >= starts.size() || int64_t(i) >= ends.size() ||
        i >= op.getSteps().size() || op.getSteps()[i] == 0)
      return shapeError(op, "axes, starts, ends and steps do not fit " + x.typeName());
    int64_t dim = x.shape[size_t(axis)], step = op.getSteps()[i];
    auto clamped = [&](int64_t bound) {
      bound = bound < 0 ? bound + dim : bound;
      return step > 0 ? std::clamp<int64_t>(bound, 0, dim) : std::clamp<int64_t>(bound, -1, dim - 1);
    };
    int64_t start = clamped(starts.ints[i]), end = clamped(ends.ints[i]);
    int64_t span = step > 0 ? end - start : start - end, size = step == INT64_MIN ? INT64_MAX : std::abs(step);
    shape[size_t(axis)] = span <= 0 ? 0 : (span - 1) / size + 1;
    offset += start * strides[size_t(axis)];
    strides[size_t(axis)] = shape[size_t(axis)] > 1 ? strides[size_t(axis)] * step : 0;
  }
  return takeStrided(x, shape, strides, elementCount(shape) ? offset : 0);
}

static Result<Array> concat(ConcatOp op, Frame &frame) {
  const Array &first = frame.in(op.getInputs().front());
  size_t axis = size_t(op.getAxis());
  if (axis >= first.shape.size())
    return shapeError(op, "axis out of range");
  Shape shape = first.shape;
  shape[axis] = 0;
  for (mlir::Value value : op.getInputs()) {
    const Array &input = frame.in(value);
    Shape rest = input.shape;
    if (rest.size() != shape.size() || input.isFloat() != first.isFloat())
      return shapeError(op, "inputs of different rank");
    shape[axis] += rest[axis];
    rest[axis] = shape[axis];
    if (rest != shape)
      return shapeError(op, input.typeName() + " does not fit " + first.typeName());
  }
  Result<Array> result = makeArray(first.dtype, shape);
  if (!result)
    return result;
  int64_t outer = elementCount(Shape(shape.begin(), shape.begin() + axis));
  withStorage(first, [&](auto zero) {
    using T = decltype(zero);
    T *out = result->template data<T>().data();
    for (int64_t row = 0; row < outer; ++row)
      for (mlir::Value value : op.getInputs()) {
        const Array &input = frame.in(value);
        int64_t run = input.size() / outer;
        out = std::copy_n(input.data<T>().data() + row * run, run, out);
      }
  });
  return result;
}

/// Where element i of a padded dimension comes from; -1: from nowhere.
static int64_t padSource(PadMode mode, int64_t i, int64_t dim) {
  if (i >= 0 && i < dim)
    return i;
  switch (mode) {
  case PadMode::constant:
    return -1;
  case PadMode::edge:
    return i < 0 ? 0 : dim - 1;
  case PadMode::wrap:
    return ((i % dim) + dim) % dim;
  case PadMode::reflect: {
    int64_t period = std::max<int64_t>(1, 2 * (dim - 1));
    i = ((i % period) + period) % period;
    return i < dim ? i : period - i;
  }
  }
  return -1;
}

static Result<Array> pad(PadOp op, const Array &x, const Array &pads, const Array &value) {
  size_t rank = x.shape.size();
  if (pads.ints.size() != 2 * rank || value.size() != 1 || value.isFloat() != x.isFloat())
    return shapeError(op, "pads and value do not fit " + x.typeName());
  Shape shape = x.shape;
  for (size_t i = 0; i < rank; ++i) {
    if (std::abs(pads.ints[i]) > INT32_MAX || std::abs(pads.ints[rank + i]) > INT32_MAX)
      return shapeError(op, "pads too large");
    shape[i] += pads.ints[i] + pads.ints[rank + i];
    if (shape[i] < 0 || (op.getMode() != PadMode::constant && x.shape[i] == 0 && shape[i] > 0))
      return shapeError(op, "pads remove more than there is, or repeat nothing");
  }
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result)
    return result;
  Shape unit(rank, 0), strides = stridesOf(x.shape), resultStrides(rank);
  for (size_t i = rank, stride = 1; i-- > 0; stride *= size_t(shape[i]))
    resultStrides[i] = int64_t(stride);
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    T *out = result->template data<T>().data();
    for (int64_t at = 0, n = result->size(); at < n; ++at) {
      int64_t from = 0;
      for (size_t i = 0; i < rank && from >= 0; ++i) {
        int64_t source = padSource(op.getMode(), (at / resultStrides[i]) % shape[i] - pads.ints[i], x.shape[i]);
        from = source < 0 ? -1 : from + source * strides[i];
      }
      out[at] = from < 0 ? value.data<T>()[0] : x.data<T>()[size_t(from)];
    }
  });
  return result;
}

static Result<Array> range(RangeOp op, const Array &start, const Array &limit, const Array &delta) {
  if (start.size() != 1 || limit.size() != 1 || delta.size() != 1 || delta.asDouble(0) == 0 ||
      start.isFloat() != delta.isFloat() || start.isFloat() != limit.isFloat())
    return shapeError(op, "start, limit and a delta other than zero are needed, as scalars of one type");
  double count = std::max(0.0, std::ceil((limit.asDouble(0) - start.asDouble(0)) / delta.asDouble(0)));
  Result<Array> result = makeArray(start.dtype, {count < 0x1p62 ? int64_t(count) : INT64_MAX});
  if (!result)
    return result;
  for (int64_t i = 0; i < result->size(); ++i) {
    if (start.isFloat())
      result->floats[size_t(i)] = start.floats[0] + double(i) * delta.floats[0];
    else
      result->ints[size_t(i)] = int64_t(uint64_t(start.ints[0]) + uint64_t(i) * uint64_t(delta.ints[0]));
  }
  return result;
}

std::optional<Status> interpreter::runShapeOps(mlir::Operation *op, Frame &frame) {
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  using Out = std::optional<Status>;
  auto out = [&](Result<Array> array) -> Out { return frame.out(op->getResult(0), std::move(array)); };
  return llvm::TypeSwitch<mlir::Operation *, Out>(op)
      .Case([&](ConstantOp constant) { return out(fromElements(constant.getValue())); })
      .Case([&](WeightOp weight) -> Out { return runWeight(weight, frame); })
      .Case([&](ShapeOp) { return out(makeVector(DType::I64, x(0).shape)); })
      .Case([&](ReshapeOp reshape) { return out(::reshape(reshape, x(0), x(1))); })
      .Case([&](ExpandDimsOp expand) { return out(expandDims(expand, x(0))); })
      .Case([&](SqueezeOp squeeze) { return out(::squeeze(squeeze, x(0))); })
      .Case([&](FlattenOp flatten) { return out(::flatten(flatten, x(0))); })
      .Case([&](TransposeOp transpose) { return out(::transpose(transpose, x(0))); })
      .Case([&](BroadcastOp broadcast) { return out(::broadcast(broadcast, x(0), x(1))); })
      .Case([&](TileOp tile) { return out(::tile(tile, x(0), x(1))); })
      .Case([&](SliceOp slice) { return out(::slice(slice, x(0), x(1), x(2))); })
      .Case([&](ConcatOp concat) { return out(::concat(concat, frame)); })
      .Case([&](PadOp pad) { return out(::pad(pad, x(0), x(1), x(2))); })
      .Case([&](RangeOp range) { return out(::range(range, x(0), x(1), x(2))); })
      .Default([](mlir::Operation *) { return std::nullopt; });
}
