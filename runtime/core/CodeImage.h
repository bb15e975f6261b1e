//===- CodeImage.h - machine code out of an artifact ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A code section is an ELF shared object that needs nothing: no libraries, undefined symbols, relocations, constructors
// or writable data. It is read into memory, checked there, and its segments are copied to pages that become executable:
// what was checked is what runs, whatever happens to the file.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_CODEIMAGE_H
#define LLMOPT_RUNTIME_CORE_CODEIMAGE_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "runtime/core/Mapping.h"

#include <map>

namespace llmopt {

class CodeImage {
public:
  CodeImage() = default;
  /// Places the section of the artifact at `path`. E0205: not the bytes the table promises; E0207: an ELF file that the
  /// runtime refuses, and why.
  static Result<CodeImage> load(const std::string &path, const Section &section);
  /// Address of a function, or nullptr.
  const void *find(std::string_view name) const;

private:
  Mapping code_;
  std::map<std::string, const void *, std::less<>> functions_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_CODEIMAGE_H
