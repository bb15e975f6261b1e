//===- WatchedMapping.h - files that shrink while they are mapped -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A mapped file may become shorter, or its disk may fail: the next touch of such a page is SIGBUS, which would end the
// process without a word. Mappings that are watched read zeros there instead, and remember that they did.
//
// The first watched mapping installs a handler for SIGBUS; what is not ours goes on to the handler that was there before.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_WATCHEDMAPPING_H
#define LLMOPT_LIB_SUPPORT_WATCHEDMAPPING_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace llmopt {

struct WatchedMapping {
  static constexpr uint64_t kIntact = UINT64_MAX;

  std::atomic<uintptr_t> begin{0}, end{0};    ///< empty: free for the next file
  std::atomic<uint64_t> lostOffset{kIntact}; ///< first byte that could not be read
  std::string path;
  WatchedMapping *next = nullptr;
};

/// Lives as long as the process, as the handler may look at it any time.
WatchedMapping *watchMapping(const void *data, size_t size, const std::string &path);
/// Before the addresses are given back.
void unwatchMapping(WatchedMapping *mapping);

/// How many mappings of this process have lost bytes, and the one that did last.
uint64_t lostMappings();
const WatchedMapping *lastLostMapping();

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_WATCHEDMAPPING_H
