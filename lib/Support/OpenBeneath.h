//===- OpenBeneath.h - opening a file inside a folder only ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_OPENBENEATH_H
#define LLMOPT_LIB_SUPPORT_OPENBENEATH_H

#include <string>
#include <unistd.h>
#include <utility>

namespace llmopt {

/// A file descriptor that closes itself.
class Descriptor {
public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor &&other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor() {
    if (value_ >= 0)
      ::close(value_);
  }
  int get() const { return value_; }
  bool ok() const { return value_ >= 0; }

private:
  int value_;
};

/// Opens `name` (relative, without "..") below an open folder, for reading, following no link; errno on failure.
/// The first asks the kernel (openat2), the second walks the components for kernels and sandboxes that lack it.
Descriptor openBeneathByKernel(int folder, const std::string &name);
Descriptor openBeneathStepwise(int folder, const std::string &name);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_OPENBENEATH_H
