//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/HugePages.h"

#include <sys/mman.h>
#include <unistd.h>

using namespace llmopt;

void *llmopt::reserveAddresses(size_t size) {
  size_t page = size_t(::sysconf(_SC_PAGESIZE)), spare = size >= kHugePageBytes ? kHugePageBytes : 0;
  size = (size + page - 1) / page * page;
  void *reserved = ::mmap(nullptr, size + spare, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED)
    return nullptr;
  if (!spare)
    return reserved;
  auto *begin = static_cast<std::byte *>(reserved);
  size_t before = (spare - reinterpret_cast<uintptr_t>(begin) % spare) % spare;
  if (before)
    ::munmap(begin, before);
  if (spare > before)
    ::munmap(begin + before + size, spare - before);
  return begin + before;
}

void llmopt::allowHugePages(void *address, size_t size) { (void)::madvise(address, size, MADV_HUGEPAGE); }
