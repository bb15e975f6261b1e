//===- Format.h - the fixed header, for reader and writer -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_FORMAT_H
#define LLMOPT_LIB_ARTIFACT_FORMAT_H

#include <cstddef>
#include <cstdint>

namespace llmopt::artifact {

struct Header {
  char magic[8];
  uint16_t major, minor;
  uint32_t flags;
  uint64_t tableLength, fileLength, tableHash;
  uint64_t zero[2];
  uint64_t headerHash; ///< of all bytes before it
};
static_assert(sizeof(Header) == 64 && offsetof(Header, headerHash) == 56);

inline constexpr char kMagic[8] = {'L', 'L', 'M', 'O', 'P', 'T', '\x1a', '\n'};

} // namespace llmopt::artifact

#endif // LLMOPT_LIB_ARTIFACT_FORMAT_H
