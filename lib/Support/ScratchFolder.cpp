//===- ScratchFolder.cpp - a folder that goes when its object does ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/ScratchFolder.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

using namespace llmopt;
namespace fs = std::filesystem;

std::string llmopt::temporaryFolder() {
  const char *chosen = std::getenv("TMPDIR");
  return chosen && *chosen ? chosen : "/tmp";
}

Status llmopt::writeScratchFile(const std::string &path, std::string_view bytes) {
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), std::streamsize(bytes.size()));
  file.close();
  return file ? Status() : badInput("E0905", std::string("cannot write a temporary file: ") + std::strerror(errno), path);
}

Result<ScratchFolder> ScratchFolder::make(const std::string &purpose) {
  // mkdtemp writes over the last six characters.
  std::string path = temporaryFolder() + "/llmopt-" + purpose + "-XXXXXX";
  if (!::mkdtemp(path.data()))
    return badInput("E0104", std::string("cannot make a temporary folder: ") + std::strerror(errno) + "; is TMPDIR writable?", path);
  return ScratchFolder(path);
}

ScratchFolder::ScratchFolder(std::string path) : path_(std::move(path)) {}
ScratchFolder::ScratchFolder(ScratchFolder &&other) noexcept : path_(std::exchange(other.path_, {})) {}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty())
    fs::remove_all(path_, ignored);
}
