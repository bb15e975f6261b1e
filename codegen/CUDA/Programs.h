//===- Programs.h - compilers that are programs -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each works in a folder of its own under the system's temporary one; no path goes into an image.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PROGRAMS_H
#define LLMOPT_CODEGEN_CUDA_PROGRAMS_H

#include "llmopt/lib/Support/Status.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::cuda {

class WorkFolder {
public:
  WorkFolder() = default;
  WorkFolder(const WorkFolder &) = delete;
  ~WorkFolder();
  /// With the kernel sources and "unit.cu". E0983.
  Status create(std::string_view unit);
  /// With nothing in it.
  Status create();
  Status write(std::string_view name, std::string_view text) const;
  std::string read(llvm::StringRef name) const;
  std::string file(llvm::StringRef name) const { return (path_ + "/" + name).str(); }
  /// Runs a program; its output is appended to `log`.
  Status run(const std::string &program, const std::vector<std::string> &arguments, std::string &log) const;

private:
  llvm::SmallString<128> path_;
};

/// The program, or nothing; a variable of the environment goes first.
std::string findProgram(const char *variable, std::initializer_list<const char *> names);
/// The line of `program --version` that tells the version, for the cache's key.
std::string versionOf(const std::string &program);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PROGRAMS_H
