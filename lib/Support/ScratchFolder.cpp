//===- ScratchFolder.cpp - a folder that goes when its object does ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/ScratchFolder.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

using namespace llmopt;
namespace fs = std::filesystem;

Result<ScratchFolder> ScratchFolder::make(const std::string &purpose) {
  // mkdtemp writes over the last six characters.
  std::string path = (fs::temp_directory_path() / ("llmopt-" + purpose + "-")).string() + std::string(6, 'X');
  if (!::mkdtemp(path.data()))
    return badInput("E0104", "cannot make a temporary folder", path);
  return ScratchFolder(path);
}

ScratchFolder::ScratchFolder(std::string path) : path_(std::move(path)) {}
ScratchFolder::ScratchFolder(ScratchFolder &&other) noexcept : path_(std::exchange(other.path_, {})) {}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty())
    fs::remove_all(path_, ignored);
}
