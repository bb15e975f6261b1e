//===- Array.cpp - values inside the interpreter --------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Array.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Support/CheckedMath.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::interpreter;

/// Eight bytes each: what a test machine still bears.
static constexpr int64_t kMaxElements = int64_t(1) << 31;

double Array::asDouble(int64_t i) const {
  if (isFloat())
    return floats[size_t(i)];
  return dtype == DType::U64 ? double(uint64_t(ints[size_t(i)])) : double(ints[size_t(i)]);
}

std::string Array::typeName() const {
  std::string text(dtypeName(dtype));
  text += "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Result<Array> interpreter::makeArray(DType dtype, Shape shape) {
  std::optional<int64_t> count = checkedElementCount({shape.data(), shape.size()});
  Array array{dtype, std::move(shape), {}, {}};
  if (!count || *count > kMaxElements)
    return limitExceeded("E0707", "a constant or reference result " + array.typeName() + " has " +
                                      (count ? "too many bytes to compute when compiling; at most 2^31 elements are allowed" : "a size that is negative or passes 2^63 bytes"));
  withStorage(array, [&](auto zero) { array.data<decltype(zero)>().assign(size_t(*count), zero); });
  return array;
}

Array interpreter::makeVector(DType dtype, std::vector<int64_t> ints) {
  return {dtype, {int64_t(ints.size())}, {}, std::move(ints)};
}

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

double interpreter::roundTo(DType dtype, double value) {
  switch (dtype) {
  case DType::F64:
    return value;
  case DType::F16:
    return double(f16ToFloat(floatToF16(float(value))));
  case DType::BF16:
    return double(bf16ToFloat(floatToBf16(float(value))));
  default:
    // What a cast saturates is in range by now.
    if (const NarrowFloat *narrow = narrowFloat(dtype))
      return double(narrow->decode(narrow->encode(float(value), /*saturate=*/false)));
    return double(float(value));
  }
}

int64_t interpreter::wrapTo(DType dtype, int64_t value) {
  switch (dtype) {
  case DType::Bool:
    return value & 1;
  case DType::I8:
    return int8_t(value);
  case DType::I16:
    return int16_t(value);
  case DType::I32:
    return int32_t(value);
  case DType::U8:
    return uint8_t(value);
  case DType::U16:
    return uint16_t(value);
  case DType::U32:
    return uint32_t(value);
  case DType::I4:
  case DType::I2: {
    int unused = 64 - dtypeBits(dtype);
    return int64_t(uint64_t(value) << unused) >> unused;
  }
  case DType::U4:
    return value & 15;
  case DType::U2:
    return value & 3;
  default:
    return value;
  }
}

int64_t interpreter::toInteger(DType dtype, double value) {
  if (dtype == DType::Bool)
    return value != 0;
  if (dtype == DType::U64 && value >= 0x1p63 && value < 0x1p64)
    return int64_t(uint64_t(value));
  bool fits = value >= -0x1p63 && value < 0x1p63; // false for NaN
  return wrapTo(dtype, fits ? int64_t(value) : INT64_MIN);
}

void interpreter::settle(Array &array) {
  if (array.dtype == DType::F32)
    for (double &value : array.floats)
      value = double(float(value));
  else if (array.isFloat())
    for (double &value : array.floats)
      value = roundTo(array.dtype, value);
  else
    for (int64_t &value : array.ints)
      value = wrapTo(array.dtype, value);
}

//===----------------------------------------------------------------------===//
// In and out
//===----------------------------------------------------------------------===//

/// Calls `fn(T(), convert)` with the stored type of a dtype.
template <typename Fn>
static void withStoredType(DType dtype, Fn &&fn) {
  switch (dtype) {
  case DType::F32:
    return fn(float());
  case DType::F64:
    return fn(double());
  case DType::F16:
  case DType::BF16:
  case DType::U16:
    return fn(uint16_t());
  case DType::I8:
  case DType::I4:
  case DType::I2:
    return fn(int8_t());
  case DType::I16:
    return fn(int16_t());
  case DType::I32:
    return fn(int32_t());
  case DType::I64:
    return fn(int64_t());
  case DType::U32:
    return fn(uint32_t());
  case DType::U64:
    return fn(uint64_t());
  default: // U8, Bool, U4, U2 and the codes of narrow floats
    return fn(uint8_t());
  }
}

Array interpreter::fromBytes(DType dtype, Shape shape, const void *bytes) {
  int64_t count = elementCount(shape);
  Array array{dtype, std::move(shape), {}, {}};
  withStoredType(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto load = [&](int64_t i) {
      T value; // weights in mapped files need not be aligned
      std::memcpy(&value, static_cast<const char *>(bytes) + size_t(i) * sizeof(T), sizeof(T));
      return value;
    };
    if (!array.isFloat()) {
      array.ints.resize(size_t(count));
      for (int64_t i = 0; i < count; ++i)
        array.ints[size_t(i)] = dtype == DType::Bool ? load(i) != 0 : int64_t(load(i));
      return;
    }
    array.floats.resize(size_t(count));
    const NarrowFloat *narrow = narrowFloat(dtype);
    for (int64_t i = 0; i < count; ++i)
      array.floats[size_t(i)] = dtype == DType::F16    ? double(f16ToFloat(uint16_t(load(i))))
                                : dtype == DType::BF16 ? double(bf16ToFloat(uint16_t(load(i))))
                                : narrow               ? double(narrow->decode(uint8_t(load(i))))
                                                       : double(load(i));
  });
  return array;
}

Array interpreter::fromTensor(const Tensor &tensor) { return fromBytes(tensor.dtype(), tensor.shape(), tensor.data()); }

Tensor interpreter::toTensor(const Array &array) {
  Tensor tensor(array.dtype, array.shape);
  withStoredType(array.dtype, [&](auto zero) {
    using T = decltype(zero);
    T *out = tensor.as<T>();
    for (int64_t i = 0; i < array.size(); ++i) {
      if (array.dtype == DType::F16)
        out[i] = T(floatToF16(float(array.floats[size_t(i)])));
      else if (array.dtype == DType::BF16)
        out[i] = T(floatToBf16(float(array.floats[size_t(i)])));
      else if (const NarrowFloat *narrow = narrowFloat(array.dtype))
        out[i] = T(narrow->encode(float(array.floats[size_t(i)]), /*saturate=*/false));
      else
        out[i] = array.isFloat() ? T(array.floats[size_t(i)]) : T(array.ints[size_t(i)]);
    }
  });
  return tensor;
}

Result<Array> interpreter::fromElements(mlir::ElementsAttr elements) {
  auto dense = mlir::dyn_cast<mlir::DenseElementsAttr>(elements);
  std::optional<DType> dtype = llm::dtypeOf(elements.getElementType());
  if (!dense || !dtype)
    return unsupported("E0703", "a constant that is not dense, or of an element type that tensors do not have");
  Result<Array> made = makeArray(*dtype, Shape(dense.getType().getShape().begin(), dense.getType().getShape().end()));
  if (!made)
    return made;
  Array array = made.take();
  size_t i = 0;
  if (array.isFloat()) {
    for (const llvm::APFloat &value : dense.getValues<llvm::APFloat>()) {
      llvm::APFloat wide = value;
      bool inexact;
      wide.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &inexact);
      array.floats[i++] = wide.convertToDouble();
    }
  } else {
    bool isSigned = !elements.getElementType().isUnsignedInteger() && *dtype != DType::Bool;
    for (const llvm::APInt &value : dense.getValues<llvm::APInt>())
      array.ints[i++] = isSigned ? value.getSExtValue() : int64_t(value.getZExtValue());
  }
  return array;
}

//===----------------------------------------------------------------------===//
// Addressing
//===----------------------------------------------------------------------===//

int64_t interpreter::elementCount(const Shape &shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  return count;
}

Shape interpreter::stridesOf(const Shape &shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = shape[i] == 1 ? 0 : stride;
    stride *= shape[i];
  }
  return strides;
}

Result<Array> interpreter::takeStrided(const Array &source, const Shape &shape, const Shape &strides, int64_t offset) {
  Result<Array> result = makeArray(source.dtype, shape);
  if (!result)
    return result;
  withStorage(source, [&](auto zero) {
    const auto *in = source.data<decltype(zero)>().data();
    auto *out = result->template data<decltype(zero)>().data();
    forEachOffset<1>(shape, {strides}, {offset}, [&](int64_t at, const std::array<int64_t, 1> &from) { out[at] = in[from[0]]; });
  });
  return result;
}
