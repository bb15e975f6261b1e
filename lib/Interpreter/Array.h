//===- Array.h - values inside the interpreter ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All floats are kept as double and all integers as int64, already rounded or wrapped to their element type, so that each
// operation is written twice at most. Unsigned 64-bit numbers are kept as their bits.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_INTERPRETER_ARRAY_H
#define LLMOPT_LIB_INTERPRETER_ARRAY_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

#include <array>
#include <memory>
#include <type_traits>
#include <vector>

namespace llmopt::interpreter {

using Shape = std::vector<int64_t>;

struct Array {
  DType dtype = DType::F32;
  Shape shape;
  std::vector<double> floats;
  std::vector<int64_t> ints;

  bool isFloat() const { return llmopt::isFloat(dtype); }
  int64_t size() const { return int64_t(isFloat() ? floats.size() : ints.size()); }
  int64_t rank() const { return int64_t(shape.size()); }
  double asDouble(int64_t i) const;
  template <typename T>
  std::vector<T> &data() {
    if constexpr (std::is_same_v<T, double>)
      return floats;
    else
      return ints;
  }
  template <typename T>
  const std::vector<T> &data() const {
    return const_cast<Array *>(this)->data<T>();
  }
  /// "f32[2, 3]"
  std::string typeName() const;
};
using ArrayPtr = std::shared_ptr<const Array>;

/// Elements all zero. E0707 when the shape is negative or larger than an interpreter should be asked for.
Result<Array> makeArray(DType dtype, Shape shape);
Array makeVector(DType dtype, std::vector<int64_t> ints);

/// Calls `fn(T())` with T = double or int64_t, as the array's elements are stored.
template <typename Fn>
decltype(auto) withStorage(const Array &array, Fn &&fn) {
  return array.isFloat() ? fn(double()) : fn(int64_t());
}

double roundTo(DType dtype, double value);
int64_t wrapTo(DType dtype, int64_t value);
/// Truncates towards zero; what does not fit 64 bits becomes the smallest number, as x86 does.
int64_t toInteger(DType dtype, double value);
/// Rounds or wraps all elements to the array's element type.
void settle(Array &array);

Array fromTensor(const Tensor &tensor);
Array fromBytes(DType dtype, Shape shape, const void *bytes);
Tensor toTensor(const Array &array);
Result<Array> fromElements(mlir::ElementsAttr elements);

/// Row-major strides; 0 for dimensions of size 1, so that they can be repeated.
Shape stridesOf(const Shape &shape);
int64_t elementCount(const Shape &shape);
/// An index into a dimension as the dialect reads it: negative ones count from the end, then clamped.
inline int64_t clampIndex(int64_t index, int64_t dim) {
  index = index < 0 ? index + dim : index;
  return index < 0 ? 0 : index >= dim ? dim - 1 : index;
}

/// Walks a box in row-major order with one linear offset per operand, strides given per dimension.
template <size_t N, typename Fn>
void forEachOffset(const Shape &shape, const std::array<Shape, N> &strides, std::array<int64_t, N> offsets, Fn &&fn) {
  int64_t count = elementCount(shape);
  if (count == 0)
    return;
  size_t rank = shape.size();
  int64_t inner = rank ? shape[rank - 1] : 1;
  Shape index(rank, 0);
  for (int64_t at = 0; at < count; at += inner) {
    std::array<int64_t, N> run = offsets;
    for (int64_t i = 0; i < inner; ++i) {
      fn(at + i, run);
      for (size_t k = 0; rank && k < N; ++k)
        run[k] += strides[k][rank - 1];
    }
    for (size_t axis = rank ? rank - 1 : 0; axis-- > 0;) {
      for (size_t k = 0; k < N; ++k)
        offsets[k] += strides[k][axis];
      if (++index[axis] < shape[axis])
        break;
      index[axis] = 0;
      for (size_t k = 0; k < N; ++k)
        offsets[k] -= strides[k][axis] * shape[axis];
    }
  }
}

/// The element of `source` for each place of `shape`, by strides.
Result<Array> takeStrided(const Array &source, const Shape &shape, const Shape &strides, int64_t offset = 0);

} // namespace llmopt::interpreter

#endif // LLMOPT_LIB_INTERPRETER_ARRAY_H
