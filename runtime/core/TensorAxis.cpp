//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/TensorAxis.h"

#include <cstring>
#include <numeric>
#include <vector>

using namespace llmopt;

Tensor llmopt::takeRows(const Tensor &tensor, size_t axis, std::span<const uint32_t> rows) {
  std::vector<int64_t> shape = tensor.shape();
  size_t outer = 1, inner = dtypeSize(tensor.dtype()), length = size_t(shape[axis]);
  for (size_t i = 0; i < shape.size(); ++i)
    (i < axis ? outer : inner) *= i == axis ? 1 : size_t(shape[i]);
  shape[axis] = int64_t(rows.size());
  Tensor result(tensor.dtype(), std::move(shape));
  if (result.bytes() == 0)
    return result;
  auto *to = static_cast<std::byte *>(result.data());
  auto *from = static_cast<const std::byte *>(tensor.data());
  for (size_t o = 0; o < outer; ++o)
    for (size_t r = 0; r < rows.size(); ++r)
      std::memcpy(to + (o * rows.size() + r) * inner, from + (o * length + rows[r]) * inner, inner);
  return result;
}

Tensor llmopt::slice(const Tensor &tensor, size_t axis, size_t begin, size_t count) {
  std::vector<uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), uint32_t(begin));
  return takeRows(tensor, axis, rows);
}

Tensor llmopt::toF32(Tensor &tensor) {
  if (tensor.dtype() == DType::F32)
    return std::move(tensor);
  Tensor result(DType::F32, tensor.shape());
  for (int64_t i = 0; i < tensor.elements(); ++i)
    result.as<float>()[i] = float(tensor.at(i));
  return result;
}

void llmopt::setElement(Tensor &tensor, size_t index, int64_t value) {
  switch (tensor.dtype()) {
  case DType::I64:
  case DType::U64:
    tensor.as<int64_t>()[index] = value;
    break;
  case DType::I32:
  case DType::U32:
    tensor.as<int32_t>()[index] = int32_t(value);
    break;
  case DType::I16:
  case DType::U16:
    tensor.as<int16_t>()[index] = int16_t(value);
    break;
  case DType::F32:
    tensor.as<float>()[index] = float(value);
    break;
  case DType::F64:
    tensor.as<double>()[index] = double(value);
    break;
  case DType::F16:
    tensor.as<uint16_t>()[index] = floatToF16(float(value));
    break;
  case DType::BF16:
    tensor.as<uint16_t>()[index] = floatToBf16(float(value));
    break;
  default:
    if (const NarrowFloat *narrow = narrowFloat(tensor.dtype()))
      tensor.as<uint8_t>()[index] = narrow->encode(float(value), /*saturate=*/true);
    else // i8, u8, bool and narrower integers
      tensor.as<int8_t>()[index] = int8_t(value);
  }
}
