//===- HugePages.h - where the system may use large pages -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stream of reads stops at each small page, which costs a twentieth of the rate of reading memory.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_HUGEPAGES_H
#define LLMOPT_LIB_SUPPORT_HUGEPAGES_H

#include <cstddef>
#include <cstdint>

namespace llmopt {

/// Both memory and a file must lie at multiples of this to be mapped as one page.
inline constexpr uint64_t kHugePageBytes = uint64_t(2) << 20;

/// Addresses without memory behind them, from a multiple of kHugePageBytes on where the size is at least that. Null, and errno, if
/// there are none.
void *reserveAddresses(size_t size);
/// Says that the range may be on large pages; does nothing where the system has none.
void allowHugePages(void *address, size_t size);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_HUGEPAGES_H
