//===- Tensor.h - a tensor that owns its bytes ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_TENSOR_H
#define LLMOPT_LIB_SUPPORT_TENSOR_H

#include "llmopt/lib/Support/DType.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace llmopt {

/// Dense, row-major, 64-byte aligned.
class Tensor {
public:
  Tensor() = default;
  Tensor(DType type, std::vector<int64_t> shape);
  Tensor(Tensor &&) noexcept;
  Tensor &operator=(Tensor &&) noexcept;
  Tensor(const Tensor &);
  Tensor &operator=(const Tensor &);
  ~Tensor();

  DType dtype() const { return type_; }
  const std::vector<int64_t> &shape() const { return shape_; }
  int64_t elements() const { return elements_; }
  size_t bytes() const { return size_t(elements_) * dtypeSize(type_); }
  void *data() { return data_; }
  const void *data() const { return data_; }
  template <typename T>
  T *as() {
    return static_cast<T *>(data_);
  }
  template <typename T>
  const T *as() const {
    return static_cast<const T *>(data_);
  }
  /// Element i as double, whatever the type.
  double at(int64_t i) const;
  /// "f32[2, 3]"
  std::string typeName() const;

private:
  DType type_ = DType::F32;
  std::vector<int64_t> shape_;
  int64_t elements_ = 0;
  void *data_ = nullptr;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_TENSOR_H
