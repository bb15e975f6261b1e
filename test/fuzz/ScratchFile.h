//===- ScratchFile.h - a fuzzer's input as a file ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_FUZZ_SCRATCHFILE_H
#define LLMOPT_TEST_FUZZ_SCRATCHFILE_H

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace llmopt::fuzz {

/// A folder of this process, removed at its end.
inline const std::filesystem::path &scratchFolder() {
  struct Folder {
    std::filesystem::path path;
    Folder() {
      // In memory where there is such a place: thousands of files come and go.
      std::string pattern = std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path().string();
      pattern += "/llmopt-fuzz-XXXXXX";
      if (!::mkdtemp(pattern.data()))
        std::abort();
      path = pattern;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder folder;
  return folder.path;
}

inline std::string writeScratch(const std::string &name, std::string_view bytes) {
  std::string path = scratchFolder() / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

} // namespace llmopt::fuzz

#endif // LLMOPT_TEST_FUZZ_SCRATCHFILE_H
