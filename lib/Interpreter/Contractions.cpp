//===- Contractions.cpp - matrix products, convolution, normalization -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include <cmath>
#include <numeric>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// c [m, n] += a [m, k] b [k, n]; rows of b are streamed for four rows of c at a time.
template <typename T>
static void multiplyInto(T *c, const T *a, const T *b, int64_t m, int64_t k, int64_t n) {
  for (int64_t row = 0; row < m; row += 4) {
    int64_t rows = std::min<int64_t>(4, m - row);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t r = row; r < row + rows; ++r) {
        T factor = a[r * k + i];
        T *out = c + r * n;
        const T *in = b + i * n;
        for (int64_t j = 0; j < n; ++j)
          out[j] += factor * in[j];
      }
  }
}

/// c [m, n] += a [m, k] b [n, k]^T; eight partial sums, so that the compiler may use vectors.
template <typename T>
static void multiplyTransposedInto(T *c, const T *a, const T *b, int64_t m, int64_t k, int64_t n) {
  constexpr int64_t kLanes = 8;
  for (int64_t row = 0; row < m; ++row)
    for (int64_t column = 0; column < n; ++column) {
      const T *x = a + row * k, *y = b + column * k;
      T partial[kLanes] = {};
      int64_t i = 0;
      for (; i + kLanes <= k; i += kLanes)
        for (int64_t lane = 0; lane < kLanes; ++lane)
          partial[lane] += x[i + lane] * y[i + lane];
      T sum = 0;
      for (T part : partial)
        sum += part;
      for (; i < k; ++i)
        sum += x[i] * y[i];
      c[row * n + column] += sum;
    }
}

static Result<Array> matmul(MatMulOp op, const Array &x, const Array &y) {
  Shape lhs = x.shape, rhs = y.shape;
  if (lhs.empty() || rhs.empty() || x.isFloat() != y.isFloat())
    return shapeError(op, x.typeName() + " and " + y.typeName() + " cannot be multiplied");
  bool row = lhs.size() == 1, column = rhs.size() == 1;
  if (row)
    lhs.insert(lhs.begin(), 1);
  if (column)
    rhs.push_back(1);
  int64_t m = lhs[lhs.size() - 2], k = lhs.back(), n = rhs.back();
  std::optional<Shape> batch = broadcastShape(Shape(lhs.begin(), lhs.end() - 2), Shape(rhs.begin(), rhs.end() - 2));
  if (!batch || rhs[rhs.size() - 2] != k)
    return shapeError(op, x.typeName() + " and " + y.typeName() + " cannot be multiplied");
  Shape shape = *batch;
  if (!row)
    shape.push_back(m);
  if (!column)
    shape.push_back(n);
  Result<Array> result = makeArray(dtypeOf(op.getResult()), shape);
  if (!result || result->isFloat() != x.isFloat())
    return result ? shapeError(op, "result and operands are of different kinds") : std::move(result);
  auto batchStrides = [&](const Shape &own, int64_t matrix) {
    Shape strides = broadcastStrides(Shape(own.begin(), own.end() - 2), batch->size());
    for (int64_t &stride : strides)
      stride *= matrix;
    return strides;
  };
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    // Integers wrap: products are taken on unsigned numbers of the same bits.
    using Product = std::conditional_t<std::is_same_v<T, double>, double, uint64_t>;
    auto *out = reinterpret_cast<Product *>(result->template data<T>().data());
    auto *a = reinterpret_cast<const Product *>(x.data<T>().data()), *b = reinterpret_cast<const Product *>(y.data<T>().data());
    forEachOffset<2>(*batch, {batchStrides(lhs, m * k), batchStrides(rhs, k * n)}, {},
                     [&](int64_t at, const std::array<int64_t, 2> &from) {
                       multiplyInto<Product>(out + at * m * n, a + from[0], b + from[1], m, k, n);
                     });
  });
  return result;
}

static Result<Array> linear(LinearOp op, const Array &x, const Array &weight, const Array *bias) {
  bool transposed = op.getTransposed();
  if (x.shape.empty() || weight.rank() != 2 || x.shape.back() != weight.shape[transposed ? 0 : 1])
    return shapeError(op, x.typeName() + " does not fit weight " + weight.typeName());
  int64_t k = x.shape.back(), n = weight.shape[transposed ? 1 : 0];
  if (bias && bias->shape != Shape{n})
    return shapeError(op, "bias " + bias->typeName() + " does not fit weight " + weight.typeName());
  Shape shape = x.shape;
  shape.back() = n;
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result)
    return result;
  int64_t m = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i)
    m *= shape[i];
  for (int64_t row = 0; bias && row < m; ++row)
    std::copy_n(bias->floats.data(), n, result->floats.data() + row * n);
  if (transposed)
    multiplyInto(result->floats.data(), x.floats.data(), weight.floats.data(), m, k, n);
  else
    multiplyTransposedInto(result->floats.data(), x.floats.data(), weight.floats.data(), m, k, n);
  return result;
}

static Result<Array> groupedLinear(GroupedLinearOp op, const Array &x, const Array &weight, const Array &order, const Array &offsets) {
  if (x.shape.empty() || weight.rank() != 3 || order.rank() != 2 || x.shape.back() != weight.shape[2] || offsets.shape != Shape{weight.shape[0] + 1})
    return shapeError(op, x.typeName() + " in order " + order.typeName() + " does not fit weight " + weight.typeName());
  int64_t k = weight.shape[2], n = weight.shape[1], rows = order.size(), inputs = k ? x.size() / k : 0;
  if (inputs != rows && inputs != order.shape[0])
    return shapeError(op, x.typeName() + " does not have the rows of order " + order.typeName());
  Result<Array> result = makeArray(x.dtype, {order.shape[0], order.shape[1], n});
  for (int64_t e = 0; result && e < weight.shape[0]; ++e)
    for (int64_t place = std::max<int64_t>(offsets.ints[size_t(e)], 0); place < std::min(offsets.ints[size_t(e) + 1], rows); ++place) {
      int64_t row = clampIndex(order.ints[size_t(place)], rows), from = inputs == rows ? row : row / order.shape[1];
      double *out = result->floats.data() + row * n;
      std::fill_n(out, n, 0.0);
      multiplyTransposedInto(out, x.floats.data() + from * k, weight.floats.data() + e * n * k, 1, k, n);
    }
  return result;
}

/// A stable counting sort.
static Status groupRows(GroupRowsOp op, Frame &frame, const Array &chosen) {
  int64_t experts = int64_t(op.getExperts());
  std::vector<int64_t> offsets(size_t(experts) + 1, 0);
  auto expertOf = [&](int64_t row) { return std::clamp<int64_t>(chosen.ints[size_t(row)], 0, experts - 1); };
  for (int64_t row = 0; row < chosen.size(); ++row)
    ++offsets[size_t(expertOf(row)) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  Result<Array> order = makeArray(DType::I32, chosen.shape);
  if (!order)
    return order.status();
  std::vector<int64_t> next = offsets;
  for (int64_t row = 0; row < chosen.size(); ++row)
    order->ints[size_t(next[size_t(expertOf(row))]++)] = row;
  LLMOPT_RETURN_IF_ERROR(frame.out(op.getOrder(), std::move(order)));
  Array ends = makeVector(DType::I32, std::move(offsets));
  return frame.out(op.getOffsets(), std::move(ends));
}

static Result<Array> embedding(EmbeddingOp op, const Array &ids, const Array &table) {
  if (table.rank() != 2 || (table.shape[0] == 0 && ids.size() > 0))
    return shapeError(op, "no rows to choose from in " + table.typeName());
  Shape shape = ids.shape;
  shape.push_back(table.shape[1]);
  Result<Array> result = makeArray(dtypeOf(op.getResult()), shape);
  if (!result)
    return result;
  double *out = result->floats.data();
  for (int64_t id : ids.ints)
    out = std::copy_n(table.floats.data() + clampIndex(id, table.shape[0]) * table.shape[1], table.shape[1], out);
  return result;
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

/// One or two spatial dimensions, always seen as two.
struct ConvGeometry {
  int64_t batch, channels, outChannels, groups, perGroup;
  std::array<int64_t, 2> input{1, 1}, kernel{1, 1}, output{1, 1}, stride{1, 1}, dilation{1, 1}, pad{0, 0};
};

static std::optional<ConvGeometry> geometryOf(ConvOp op, const Array &x, const Array &weight) {
  size_t spatial = op.getStrides().size();
  if (spatial < 1 || spatial > 2 || x.shape.size() != spatial + 2 || weight.shape.size() != spatial + 2 ||
      op.getPads().size() != 2 * spatial || op.getDilations().size() != spatial)
    return std::nullopt;
  ConvGeometry g{x.shape[0], x.shape[1], weight.shape[0], int64_t(op.getGroups()), weight.shape[1]};
  if (g.groups < 1 || g.channels != g.perGroup * g.groups || g.outChannels % g.groups != 0)
    return std::nullopt;
  for (size_t i = 0, to = 2 - spatial; i < spatial; ++i, ++to) {
    g.input[to] = x.shape[i + 2];
    g.kernel[to] = weight.shape[i + 2];
    g.stride[to] = op.getStrides()[i];
    g.dilation[to] = op.getDilations()[i];
    g.pad[to] = op.getPads()[i];
    int64_t room = g.input[to] + g.pad[to] + op.getPads()[spatial + i] - g.dilation[to] * (g.kernel[to] - 1) - 1;
    if (g.stride[to] < 1 || g.dilation[to] < 1)
      return std::nullopt;
    g.output[to] = room < 0 ? 0 : room / g.stride[to] + 1;
  }
  return g;
}

static double convolveAt(const ConvGeometry &g, const Array &x, const Array &weight, int64_t b, int64_t m, int64_t oy, int64_t ox) {
  double sum = 0;
  int64_t firstChannel = m / (g.outChannels / g.groups) * g.perGroup;
  for (int64_t c = 0; c < g.perGroup; ++c)
    for (int64_t ky = 0; ky < g.kernel[0]; ++ky)
      for (int64_t kx = 0; kx < g.kernel[1]; ++kx) {
        int64_t y = oy * g.stride[0] + ky * g.dilation[0] - g.pad[0], z = ox * g.stride[1] + kx * g.dilation[1] - g.pad[1];
        if (y < 0 || y >= g.input[0] || z < 0 || z >= g.input[1])
          continue;
        int64_t from = ((b * g.channels + firstChannel + c) * g.input[0] + y) * g.input[1] + z;
        sum += x.floats[size_t(from)] * weight.floats[size_t(((m * g.perGroup + c) * g.kernel[0] + ky) * g.kernel[1] + kx)];
      }
  return sum;
}

static Result<Array> conv(ConvOp op, const Array &x, const Array &weight, const Array *bias) {
  std::optional<ConvGeometry> g = geometryOf(op, x, weight);
  if (!g || (bias && bias->shape != Shape{g->outChannels}))
    return shapeError(op, x.typeName() + " does not fit weight " + weight.typeName());
  Shape shape{g->batch, g->outChannels, g->output[0], g->output[1]};
  if (x.rank() == 3)
    shape.erase(shape.begin() + 2);
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result)
    return result;
  size_t at = 0;
  for (int64_t b = 0; b < g->batch; ++b)
    for (int64_t m = 0; m < g->outChannels; ++m)
      for (int64_t y = 0; y < g->output[0]; ++y)
        for (int64_t z = 0; z < g->output[1]; ++z)
          result->floats[at++] = convolveAt(*g, x, weight, b, m, y, z) + (bias ? bias->floats[size_t(m)] : 0);
  return result;
}

static Result<Array> windows(WindowsOp op, const Array &x) {
  size_t spatial = op.getKernel().size(), missing = 2 - spatial;
  if (spatial < 1 || spatial > 2 || x.shape.size() != spatial + 2)
    return shapeError(op, x.typeName() + " has other spatial dimensions than the kernel");
  // One dimension is the second of two.
  std::array<int64_t, 2> input{1, 1}, kernel{1, 1}, output{1, 1}, stride{1, 1}, dilation{1, 1}, pad{0, 0};
  Shape shape{x.shape[0]};
  int64_t channels = x.shape.back();
  for (size_t i = 0; i < spatial; ++i) {
    size_t to = i + missing;
    input[to] = x.shape[i + 1], kernel[to] = op.getKernel()[i], stride[to] = op.getStrides()[i], dilation[to] = op.getDilations()[i], pad[to] = op.getPads()[i];
    int64_t room = input[to] + pad[to] + op.getPads()[spatial + i] - dilation[to] * (kernel[to] - 1) - 1;
    output[to] = room < 0 ? 0 : room / stride[to] + 1;
    shape.push_back(output[to]);
  }
  shape.push_back(kernel[0] * kernel[1] * channels);
  Result<Array> result = makeArray(x.dtype, shape);
  if (!result)
    return result;
  size_t at = 0;
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t y = 0; y < output[0]; ++y)
      for (int64_t z = 0; z < output[1]; ++z)
        for (int64_t k = 0; k < kernel[0] * kernel[1]; ++k)
          for (int64_t c = 0; c < channels; ++c) {
            int64_t row = y * stride[0] + k / kernel[1] * dilation[0] - pad[0], column = z * stride[1] + k % kernel[1] * dilation[1] - pad[1];
            bool inside = row >= 0 && row < input[0] && column >= 0 && column < input[1];
            result->floats[at++] = inside ? x.floats[size_t(((b * input[0] + row) * input[1] + column) * channels + c)] : 0;
          }
  return result;
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

/// The length of the rows, or an error where scale or bias do not fit.
static Result<int64_t> rowLength(mlir::Operation *op, const Array &x, const Array *scale, const Array *bias) {
  if (x.shape.empty())
    return shapeError(op, "a scalar has no rows");
  for (const Array *vector : {scale, bias})
    if (vector && vector->shape != Shape{x.shape.back()})
      return shapeError(op, vector->typeName() + " does not fit " + x.typeName());
  return x.shape.back();
}

static Result<Array> layerNorm(LayerNormOp op, const Array &x, const Array *scale, const Array *bias) {
  LLMOPT_ASSIGN(int64_t length, rowLength(op, x, scale, bias));
  Array result = x;
  double epsilon = op.getEpsilon().convertToDouble();
  for (int64_t row = 0; row < x.size(); row += length) {
    double *values = result.floats.data() + row, mean = 0, variance = 0;
    for (int64_t i = 0; i < length; ++i)
      mean += values[i] / double(length);
    for (int64_t i = 0; i < length; ++i)
      variance += (values[i] - mean) * (values[i] - mean) / double(length);
    double factor = 1 / std::sqrt(variance + epsilon);
    for (int64_t i = 0; i < length; ++i)
      values[i] = (values[i] - mean) * factor * (scale ? scale->floats[size_t(i)] : 1) + (bias ? bias->floats[size_t(i)] : 0);
  }
  return result;
}

static Result<Array> rmsNorm(RMSNormOp op, const Array &x, const Array *scale) {
  LLMOPT_ASSIGN(int64_t length, rowLength(op, x, scale, nullptr));
  Array result = x;
  double epsilon = op.getEpsilon().convertToDouble(), offset = op.getOffset().convertToDouble();
  for (int64_t row = 0; row < x.size(); row += length) {
    double *values = result.floats.data() + row, square = 0;
    for (int64_t i = 0; i < length; ++i)
      square += values[i] * values[i] / double(length);
    double factor = 1 / std::sqrt(square + epsilon);
    for (int64_t i = 0; i < length; ++i)
      values[i] *= factor * (scale ? scale->floats[size_t(i)] + offset : 1);
  }
  return result;
}

static Result<Array> softmax(SoftmaxOp op, const Array &x) {
  size_t axis = size_t(op.getAxis());
  if (axis >= x.shape.size())
    return shapeError(op, "axis out of range");
  Array result = x;
  int64_t length = x.shape[axis], inner = 1;
  for (size_t i = axis + 1; i < x.shape.size(); ++i)
    inner *= x.shape[i];
  for (int64_t line = 0; length && line < x.size() / length; ++line) {
    double *first = result.floats.data() + line / inner * length * inner + line % inner, highest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < length; ++i)
      highest = std::max(highest, first[i * inner]);
    for (int64_t i = 0; i < length; ++i)
      sum += first[i * inner] = std::exp(first[i * inner] - highest);
    for (int64_t i = 0; i < length; ++i)
      first[i * inner] /= sum;
  }
  return result;
}

std::optional<Status> interpreter::runContractions(mlir::Operation *op, Frame &frame) {
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  using Out = std::optional<Status>;
  auto out = [&](Result<Array> array) -> Out { return frame.out(op->getResult(0), std::move(array)); };
  return llvm::TypeSwitch<mlir::Operation *, Out>(op)
      .Case([&](MatMulOp matmul) { return out(::matmul(matmul, x(0), x(1))); })
      .Case([&](LinearOp linear) { return out(::linear(linear, x(0), x(1), frame.optional(linear.getBias()))); })
      .Case([&](GroupedLinearOp linear) { return out(groupedLinear(linear, x(0), x(1), x(2), x(3))); })
      .Case([&](GroupRowsOp group) -> Out { return groupRows(group, frame, x(0)); })
      .Case([&](EmbeddingOp embedding) { return out(::embedding(embedding, x(0), x(1))); })
      .Case([&](WindowsOp op) { return out(windows(op, x(0))); })
      .Case([&](ConvOp conv) { return out(::conv(conv, x(0), x(1), frame.optional(conv.getBias()))); })
      .Case([&](LayerNormOp norm) { return out(layerNorm(norm, x(0), frame.optional(norm.getScale()), frame.optional(norm.getBias()))); })
      .Case([&](RMSNormOp norm) { return out(rmsNorm(norm, x(0), frame.optional(norm.getScale()))); })
      .Case([&](SoftmaxOp softmax) { return out(::softmax(softmax, x(0))); })
      .Default([](mlir::Operation *) { return std::nullopt; });
}
