//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/Mapping.h"

#include "llmopt/lib/Support/HugePages.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

using namespace llmopt;

static constexpr uint64_t kPage = 4096;

Mapping::Mapping(Mapping &&other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping &Mapping::operator=(Mapping &&other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (address_)
    ::munmap(address_, size_);
}

Result<Mapping> Mapping::reserve(uint64_t size, const std::string &context) {
  void *address = reserveAddresses(size);
  if (!address)
    return limitExceeded("E1502", "no address space of " + std::to_string(size) + " bytes: " + std::strerror(errno), context);
  Mapping mapping;
  mapping.address_ = static_cast<std::byte *>(address);
  mapping.size_ = size;
  return mapping;
}

Result<GrowingMemory> GrowingMemory::create(uint64_t limit, const std::string &what) {
  GrowingMemory memory;
  // One page more than anybody asks for: vector loads may look behind the last element.
  LLMOPT_ASSIGN(memory.mapping_, Mapping::reserve((limit + 2 * kPage - 1) / kPage * kPage, what));
  memory.what_ = what;
  return memory;
}

Status GrowingMemory::grow(uint64_t size) {
  if (size > limit() - kPage)
    return limitExceeded("E1502", what_ + " needs " + std::to_string(size) + " bytes; the limit is " + std::to_string(limit() - kPage));
  // In steps of an eighth, so that growing token by token makes few system calls.
  uint64_t wanted = std::max(size + kPage, usable_ + usable_ / 8);
  // Large pages, where the system has some, save a stream of reads its stops at each small one; small memories get none.
  uint64_t step = wanted < kHugePageBytes ? kPage : kHugePageBytes;
  wanted = std::min((wanted + step - 1) / step * step, limit());
  if (::mprotect(mapping_.data(), wanted, PROT_READ | PROT_WRITE) != 0)
    return limitExceeded("E1502", what_ + " needs " + std::to_string(size) + " bytes and the system has none: " + std::strerror(errno));
  allowHugePages(mapping_.data(), wanted);
  usable_ = wanted - kPage;
  return {};
}
