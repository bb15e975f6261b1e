//===- Pooling.cpp - largest and mean elements of windows ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Window.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

using K = llm::ReduceKind;

/// More windows' elements than this are not written out one by one.
static constexpr int64_t kMaxKernel = 4096;

namespace {

struct Pooling {
  Window window;                  ///< its pads are those the node asks for ...
  llvm::SmallVector<int64_t> ceil; ///< ... and these come behind them, for a last window that is not full
};

std::optional<Pooling> readPooling(Node &node, Value x) {
  Emitter &e = node.emit;
  int64_t spatial = e.rank(x) - 2;
  auto kernel = node.integers("kernel_shape");
  if (spatial < 1 || !kernel || int64_t(kernel->size()) != spatial) {
    e.invalid("kernel_shape does not go with " + describeType(e.analysis, x));
    return std::nullopt;
  }
  auto window = readWindow(node, *kernel);
  if (!window || !padAutomatically(node, x, *window))
    return std::nullopt;
  int64_t size = 1;
  for (int64_t k : window->kernel)
    size *= k;
  if (size > kMaxKernel) {
    e.unsupported("a kernel of " + std::to_string(size) + " elements is larger than " + std::to_string(kMaxKernel));
    return std::nullopt;
  }
  Pooling p{*window, llvm::SmallVector<int64_t>(2 * size_t(spatial), 0)};
  bool isAutomatic = node.text("auto_pad", "NOTSET") != "NOTSET";
  for (size_t i = 0; !isAutomatic && node.flag("ceil_mode") && i < size_t(spatial); ++i) {
    auto length = e.staticDim(x, int64_t(i) + 2);
    if (!length) {
      e.unsupported("ceil_mode needs spatial dimensions that are known");
      return std::nullopt;
    }
    int64_t stride = window->strides[i], low = window->pads[i], padded = *length + low + window->pads[i + size_t(spatial)];
    int64_t steps = (std::max<int64_t>(padded - window->reach(i), 0) + stride - 1) / stride;
    if (steps * stride >= *length + low) // a window must begin before the padding behind
      --steps;
    p.ceil[i + size_t(spatial)] = std::max<int64_t>(0, steps * stride + window->reach(i) - padded);
  }
  return p;
}

/// Elements k of all windows along one dimension.
Value windowSlice(Emitter &e, Value x, const Window &window, size_t i, int64_t k) {
  int64_t first = k * window.dilations[i], unused = window.reach(i) - 1 - first;
  return e.slice(x, e.vector(first), e.vector(unused ? -unused : INT64_MAX), {int64_t(i) + 2}, {window.strides[i]});
}

/// Sums or maxima over the windows of a padded tensor, one dimension after the other.
Value combineWindows(Emitter &e, Value x, const Window &window, bool sum) {
  for (size_t i = 0; i < window.spatial(); ++i) {
    Value result;
    for (int64_t k = 0; k < window.kernel[i]; ++k) {
      Value slice = windowSlice(e, x, window, i, k);
      result = !result ? slice : sum ? e.add(result, slice) : e.max(result, slice);
    }
    x = result;
  }
  return x;
}

Value lowest(Emitter &e, Type type) {
  if (isa<FloatType>(type))
    return e.scalar(type, -std::numeric_limits<double>::infinity());
  bool isUnsigned = type.isUnsignedInteger() || type.isInteger(1);
  return e.scalar(type, isUnsigned ? 0 : -std::ldexp(1.0, int(type.getIntOrFloatBitWidth()) - 1));
}

/// Positions of the elements in a tensor without its padding, as the operator numbers them.
Value flatPositions(Emitter &e, Value x, bool columnMajor) {
  int64_t rank = e.rank(x);
  llvm::SmallVector<int64_t> sizes, factors(size_t(rank), 1);
  for (int64_t i = 0; i < rank; ++i) {
    auto size = e.staticDim(x, i);
    if (!size) {
      e.unsupported("indices of a tensor whose shape is not known: " + describeType(e.analysis, x));
      return {};
    }
    sizes.push_back(*size);
  }
  int64_t factor = 1;
  for (int64_t i = 2; columnMajor && i < rank; factor *= sizes[size_t(i++)])
    factors[size_t(i)] = factor;
  for (int64_t i = rank; i-- > (columnMajor ? 2 : 0);) {
    if (!columnMajor)
      factors[size_t(i)] = factor;
    factor *= columnMajor ? 1 : sizes[size_t(i)];
  }
  for (int64_t i = 2; columnMajor && i-- > 0; factor *= sizes[size_t(i)])
    factors[size_t(i)] = factor;
  Value sum;
  for (int64_t i = 0; i < rank; ++i) {
    Value along = e.mul(e.iota(x, i), double(factors[size_t(i)]));
    along = e.expandDims(along, llvm::to_vector(llvm::seq<int64_t>(1, rank - i)));
    sum = sum ? e.add(sum, along) : along;
  }
  return sum;
}

/// The first of the largest elements of each window, and its position.
void maxWithPositions(Node &node, Value x, const Pooling &p) {
  Emitter &e = node.emit;
  Value positions = flatPositions(e, x, node.integer("storage_order", 0) == 1);
  auto padded = [&](Value v, Value fill) { return padSpatial(e, padSpatial(e, v, p.window.pads, fill), p.ceil, fill); };
  Value values = padded(x, lowest(e, e.elementType(x))), numbers = padded(positions, e.integer(0)), best, where;
  llvm::SmallVector<int64_t> at(p.window.spatial(), 0);
  for (bool more = true; more && !e.failed();) {
    Value value = values, number = numbers;
    for (size_t i = 0; i < at.size(); ++i) {
      value = windowSlice(e, value, p.window, i, at[i]);
      number = windowSlice(e, number, p.window, i, at[i]);
    }
    Value better = best ? e.compare(llm::ComparePredicate::gt, value, best) : Value();
    where = best ? e.select(better, number, where) : number;
    best = best ? e.select(better, value, best) : value;
    more = false;
    for (size_t i = at.size(); i-- > 0 && !more;)
      more = ++at[i] < p.window.kernel[i] ? true : (at[i] = 0, false);
  }
  node.set(0, best);
  node.set(1, where);
}

} // namespace

Status importMaxPool(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  auto p = readPooling(node, x);
  if (!p)
    return {};
  if (node.wants(1)) {
    maxWithPositions(node, x, *p);
    return {};
  }
  Value fill = lowest(e, e.elementType(x));
  x = padSpatial(e, padSpatial(e, x, p->window.pads, fill), p->ceil, fill);
  node.set(0, combineWindows(e, x, p->window, /*sum=*/false));
  return {};
}

Status importAveragePool(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  auto p = readPooling(node, x);
  if (!p)
    return {};
  Value wide = e.widen(x);
  Type type = e.elementType(wide);
  Value zero = e.scalar(type, 0), one = e.scalar(type, 1);
  auto pooled = [&](Value v, Value fill) {
    return combineWindows(e, padSpatial(e, padSpatial(e, v, p->window.pads, fill), p->ceil, zero), p->window, /*sum=*/true);
  };
  // Padding counts if the node says so; what ceil_mode adds behind it never does.
  llvm::SmallVector<DimProduct> shape(2, 1);
  for (int64_t i = 2; i < e.rank(x); ++i)
    shape.push_back({x, i});
  Value counts = pooled(e.broadcast(one, e.shapeVector(shape)), node.flag("count_include_pad") ? one : zero);
  node.set(0, e.cast(e.div(pooled(wide, zero), counts), e.elementType(x)));
  return {};
}

/// GlobalAveragePool and GlobalMaxPool.
Status importGlobalPool(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  if (e.rank(x) < 3)
    return badInput(kNode, "its input is " + describeType(e.analysis, x));
  auto axes = llvm::to_vector(llvm::seq<int64_t>(2, e.rank(x)));
  bool isMean = node.opType() == "GlobalAveragePool";
  node.set(0, isMean ? e.cast(e.reduce(K::mean, e.widen(x), axes), e.elementType(x)) : e.reduce(K::max, x, axes));
  return {};
}

} // namespace llmopt::onnx
