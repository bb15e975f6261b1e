//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

using namespace llmopt;

static Status writeError(std::string_view action, const std::string &path, int number) {
  return badInput("E0104", std::string(action) + ": " + std::strerror(number), path);
}

static std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// Where the kernel shows an open file, with or without a name of its own.
static std::string nameOf(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

/// Calls `make` with names beside `path` until it makes a file of one; 0, or the last error number.
template <typename Make> static int withFreshName(const std::string &path, Make make) {
  std::random_device random;
  for (int attempt = 0; attempt < 16; ++attempt) {
    if (make(path + ".tmp" + std::to_string(random())))
      return 0;
    if (errno != EEXIST)
      break;
  }
  return errno;
}

AtomicFile::AtomicFile(AtomicFile &&other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), position_(other.position_), path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
  if (!temporary_.empty())
    ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::create(const std::string &path) {
  // A rename would put a file in the place of a device such as /dev/null.
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return badInput("E0104",
                    S_ISDIR(info.st_mode) ? "cannot be written: it is a folder"
                                          : "cannot be written: it is not a regular file",
                    path);
  AtomicFile file;
  file.path_ = path;
  file.descriptor_ = ::open(folderOf(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (file.descriptor_ >= 0 && ::access(nameOf(file.descriptor_).c_str(), F_OK) == 0)
    return file;
  // A file system without nameless files, or no /proc to name them by.
  if (file.descriptor_ >= 0)
    ::close(file.descriptor_);
  int number = withFreshName(path, [&](const std::string &name) {
    file.descriptor_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    file.temporary_ = file.descriptor_ >= 0 ? name : "";
    return file.descriptor_ >= 0;
  });
  if (number != 0)
    return writeError("cannot be created", path, number);
  return file;
}

Status AtomicFile::writeAt(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return writeError("cannot be written", path_, errno);
    offset += uint64_t(count);
    bytes = bytes.subspan(size_t(count));
  }
  return {};
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  LLMOPT_RETURN_IF_ERROR(writeAt(position_, bytes));
  position_ += bytes.size();
  return {};
}

Status AtomicFile::alignTo(uint64_t alignment) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  for (uint64_t rest = (alignment - position_ % alignment) % alignment; rest > 0;) {
    uint64_t count = std::min<uint64_t>(rest, kZeros.size());
    LLMOPT_RETURN_IF_ERROR(write(std::span(kZeros).first(count)));
    rest -= count;
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(descriptor_) != 0)
    return writeError("cannot be synced", path_, errno);
  if (temporary_.empty()) {
    int number = withFreshName(path_, [&](const std::string &name) {
      bool linked = ::linkat(AT_FDCWD, nameOf(descriptor_).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
      temporary_ = linked ? name : "";
      return linked;
    });
    if (number != 0)
      return writeError("cannot be given a name", path_, number);
  }
  int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0)
    return writeError("cannot be closed", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return writeError("cannot be renamed into place", path_, errno);
  temporary_.clear();
  // The name is safe only when the folder is on disk too; not every file system offers that, so no error.
  if (int folder = ::open(folderOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    (void)::fsync(folder);
    ::close(folder);
  }
  return {};
}
