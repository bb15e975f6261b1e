//===- Mapping.h - address space, and memory that grows in place *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_MAPPING_H
#define LLMOPT_RUNTIME_CORE_MAPPING_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace llmopt {

/// A range of address space that is given back at the end.
class Mapping {
public:
  Mapping() = default;
  Mapping(Mapping &&other) noexcept;
  Mapping &operator=(Mapping &&other) noexcept;
  ~Mapping();

  /// Addresses without memory behind them; touching them faults.
  static Result<Mapping> reserve(uint64_t size, const std::string &context);

  std::byte *data() const { return address_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {address_, size_}; }

private:
  std::byte *address_ = nullptr;
  size_t size_ = 0;
};

/// Memory whose address never changes while it grows up to a limit set at the beginning. Pages come zeroed, and cost
/// nothing before they are touched.
class GrowingMemory {
public:
  GrowingMemory() = default;
  static Result<GrowingMemory> create(uint64_t limit, const std::string &what);
  /// Makes the first `size` bytes usable. E1502 when that passes the limit or the system has no memory.
  Status ensure(uint64_t size) { return size <= usable_ ? Status() : grow(size); }
  std::byte *data() const { return mapping_.data(); }
  uint64_t limit() const { return mapping_.size(); }

private:
  Status grow(uint64_t size);
  Mapping mapping_;
  uint64_t usable_ = 0;
  std::string what_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_MAPPING_H
