//===- ElfChecker.h - what an ELF file asks for -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_ELFCHECKER_H
#define LLMOPT_RUNTIME_CORE_ELFCHECKER_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <elf.h>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace llmopt {

/// A checked image: its loadable segments, in order, and its functions.
struct ElfLayout {
  std::vector<Elf64_Phdr> segments;
  std::vector<std::pair<std::string, uint64_t>> functions; ///< name, address relative to the image
  uint64_t span = 0;                                       ///< from address 0 to the end of the last page
};

/// Refuses (E0207) whatever needs more than mapping R and RX pages: see CodeImage.h.
Result<ElfLayout> checkElf(std::span<const std::byte> bytes, const std::string &context);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_ELFCHECKER_H
