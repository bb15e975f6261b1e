//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Tensor.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

using namespace llmopt;

static constexpr std::align_val_t kAlignment{64};

// Shapes from files are checked where they are read; one that reaches this place and does not fit is a defect.
static int64_t countOrAbort(DType type, const std::vector<int64_t> &shape) {
  std::optional<int64_t> count = checkedElementCount(shape);
  if (!count || !checkedElementCount(std::array{*count, int64_t(dtypeSize(type))})) {
    std::fputs("llmopt: a tensor shape was not checked before use\n", stderr);
    std::abort();
  }
  return *count;
}

static void *allocate(size_t bytes) { return bytes ? ::operator new(bytes, kAlignment) : nullptr; }

Tensor::Tensor(DType type, std::vector<int64_t> shape)
    : type_(type), shape_(std::move(shape)), elements_(countOrAbort(type_, shape_)), data_(allocate(bytes())) {
  if (data_)
    std::memset(data_, 0, bytes());
}

Tensor::Tensor(Tensor &&other) noexcept
    : type_(other.type_), shape_(std::move(other.shape_)), elements_(std::exchange(other.elements_, 0)),
      data_(std::exchange(other.data_, nullptr)) {}

Tensor &Tensor::operator=(Tensor &&other) noexcept {
  std::swap(type_, other.type_);
  std::swap(shape_, other.shape_);
  std::swap(elements_, other.elements_);
  std::swap(data_, other.data_);
  return *this;
}

Tensor::Tensor(const Tensor &other)
    : type_(other.type_), shape_(other.shape_), elements_(other.elements_), data_(allocate(other.bytes())) {
  if (data_)
    std::memcpy(data_, other.data_, bytes());
}

Tensor &Tensor::operator=(const Tensor &other) {
  if (this != &other)
    *this = Tensor(other);
  return *this;
}

Tensor::~Tensor() {
  if (data_)
    ::operator delete(data_, kAlignment);
}

double Tensor::at(int64_t i) const {
  switch (type_) {
  case DType::F32:
    return as<float>()[i];
  case DType::F64:
    return as<double>()[i];
  case DType::F16:
    return f16ToFloat(as<uint16_t>()[i]);
  case DType::BF16:
    return bf16ToFloat(as<uint16_t>()[i]);
  case DType::I8:
  case DType::I4:
  case DType::I2:
    return as<int8_t>()[i];
  case DType::I16:
    return as<int16_t>()[i];
  case DType::I32:
    return as<int32_t>()[i];
  case DType::I64:
    return double(as<int64_t>()[i]);
  case DType::U8:
  case DType::U4:
  case DType::U2:
    return as<uint8_t>()[i];
  case DType::U16:
    return as<uint16_t>()[i];
  case DType::U32:
    return as<uint32_t>()[i];
  case DType::U64:
    return double(as<uint64_t>()[i]);
  case DType::Bool:
    return as<uint8_t>()[i] ? 1 : 0;
  default:
    return narrowFloat(type_)->decode(as<uint8_t>()[i]);
  }
}

std::string Tensor::typeName() const {
  std::string text(dtypeName(type_));
  text += '[';
  for (size_t i = 0; i < shape_.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape_[i]);
  return text + ']';
}
