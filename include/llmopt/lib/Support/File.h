//===- File.h - reading and writing files safely ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_FILE_H
#define LLMOPT_LIB_SUPPORT_FILE_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace llmopt {

struct WatchedMapping;

/// A file mapped for reading. Empty files give an empty span. Where the file becomes shorter or unreadable afterwards,
/// reading gives zeros, and `intact` says so: whoever used the bytes asks before the result goes out.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  /// E0101: the path, and why it cannot be opened.
  static Result<MappedFile> open(const std::string &path);
  /// Opens `name` inside `folder` and nowhere else: refuses absolute names, "..", and symbolic links on the way
  /// (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, with a checked fallback). E0102 when the name leads outside.
  static Result<MappedFile> openBeneath(const std::string &folder, const std::string &name);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char *>(data_), size_}; }

  /// E0105 naming the first byte that could not be read.
  Status intact() const;
  /// How many mapped files of this process have lost bytes so far, and E0105 for the last of them: for work that reads
  /// many files.
  static uint64_t losses();
  static Status lastLoss();

private:
  static Result<MappedFile> mapDescriptor(int descriptor, const std::string &path);
  const std::byte *data_ = nullptr;
  size_t size_ = 0;
  WatchedMapping *watch_ = nullptr;
};

/// The whole file as a string; E0103 when it is larger than `limit`.
Result<std::string> readTextFile(const std::string &path, uint64_t limit = uint64_t(1) << 28);

/// Writes to a file without a name where the file system has such (else beside `path`), syncs, and renames into place on
/// commit; without commit nothing is left behind, however the process ends.
class AtomicFile {
public:
  AtomicFile(AtomicFile &&other) noexcept;
  AtomicFile &operator=(AtomicFile &&) = delete;
  ~AtomicFile();
  static Result<AtomicFile> create(const std::string &path);

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Zero bytes up to the next multiple of `alignment`.
  Status alignTo(uint64_t alignment);
  Status writeAt(uint64_t offset, std::span<const std::byte> bytes);
  uint64_t position() const { return position_; }
  Status commit();

private:
  AtomicFile() = default;
  int descriptor_ = -1;
  uint64_t position_ = 0;
  std::string path_, temporary_; ///< the latter empty while the file has no name
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_FILE_H
