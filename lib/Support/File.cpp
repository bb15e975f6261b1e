//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpenBeneath.h"
#include "WatchedMapping.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/HugePages.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

using namespace llmopt;

// O_NONBLOCK: opening a named pipe must not wait for its writer; the kind of file is checked afterwards.
static constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

static Status openError(const std::string &path, int number) {
  return badInput("E0101", std::string("cannot be opened: ") + std::strerror(number), path);
}

/// Size of a regular file; anything else (folder, pipe, device) is refused.
static Result<uint64_t> regularFileSize(int descriptor, const std::string &path) {
  struct stat info;
  if (::fstat(descriptor, &info) != 0)
    return openError(path, errno);
  if (S_ISDIR(info.st_mode))
    return badInput("E0101", "cannot be opened as a file: it is a folder", path);
  if (!S_ISREG(info.st_mode))
    return badInput("E0101", "cannot be opened: it is not a regular file", path);
  return uint64_t(info.st_size);
}

Descriptor llmopt::openBeneathByKernel(int folder, const std::string &name) {
  open_how how = {};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Descriptor(int(::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how)));
}

Descriptor llmopt::openBeneathStepwise(int folder, const std::string &name) {
  Descriptor at(::fcntl(folder, F_DUPFD_CLOEXEC, 0));
  for (size_t begin = 0; at.ok();) {
    size_t slash = name.find('/', begin);
    bool last = slash == name.npos;
    std::string part = name.substr(begin, last ? name.npos : slash - begin);
    // A link gives ELOOP as the last component, ENOTDIR as an earlier one.
    int flags = O_NOFOLLOW | (last ? kReadFlags : O_PATH | O_DIRECTORY | O_CLOEXEC);
    at = Descriptor(::openat(at.get(), part.empty() ? "." : part.c_str(), flags));
    if (last)
      break;
    begin = slash + 1;
  }
  return at;
}

/// Why a name cannot be taken at all, before the file system is asked.
static const char *nameProblem(const std::string &name) {
  if (name.empty())
    return "is empty";
  if (name[0] == '/')
    return "is absolute; only names inside the model's folder are allowed";
  if (name.find('\0') != name.npos)
    return "contains a NUL character";
  for (size_t begin = 0; begin <= name.size();) {
    size_t end = std::min(name.find('/', begin), name.size());
    if (std::string_view(name).substr(begin, end - begin) == "..")
      return "contains '..'; only names inside the model's folder are allowed";
    begin = end + 1;
  }
  return nullptr;
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), watch_(std::exchange(other.watch_, nullptr)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(watch_, other.watch_);
  return *this;
}

MappedFile::~MappedFile() {
  if (watch_)
    unwatchMapping(watch_);
  if (data_)
    ::munmap(const_cast<std::byte *>(data_), size_);
}

static Status lossOf(const WatchedMapping &mapping) {
  uint64_t offset = mapping.lostOffset.load(std::memory_order_relaxed);
  if (offset == WatchedMapping::kIntact)
    return {};
  return badInput("E0105", "became shorter or unreadable while it was in use, at byte " + std::to_string(offset), mapping.path);
}

Status MappedFile::intact() const { return watch_ ? lossOf(*watch_) : Status(); }
uint64_t MappedFile::losses() { return lostMappings(); }
Status MappedFile::lastLoss() { return lastLostMapping() ? lossOf(*lastLostMapping()) : Status(); }

/// Large files at an address and with the advice that let the page cache's huge pages, where it has such, be mapped as they are.
static void *mapForReading(int descriptor, uint64_t size) {
  void *place = reserveAddresses(size);
  if (!place)
    return MAP_FAILED;
  void *address = ::mmap(place, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, descriptor, 0);
  if (address == MAP_FAILED) {
    int number = errno;
    ::munmap(place, size);
    errno = number;
  } else if (size >= kHugePageBytes) {
    allowHugePages(address, size);
  }
  return address;
}

Result<MappedFile> MappedFile::mapDescriptor(int descriptor, const std::string &path) {
  LLMOPT_ASSIGN(uint64_t size, regularFileSize(descriptor, path));
  MappedFile file;
  if (size == 0)
    return file;
  void *address = mapForReading(descriptor, size);
  if (address == MAP_FAILED)
    return badInput("E0101", std::string("cannot be mapped: ") + std::strerror(errno), path);
  file.data_ = static_cast<const std::byte *>(address);
  file.size_ = size;
  file.watch_ = watchMapping(address, size, path);
  return file;
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  Descriptor descriptor(::open(path.c_str(), kReadFlags));
  if (!descriptor.ok())
    return openError(path, errno);
  return mapDescriptor(descriptor.get(), path);
}

Result<MappedFile> MappedFile::openBeneath(const std::string &folder, const std::string &name) {
  if (const char *problem = nameProblem(name))
    return badInput("E0102", "file name '" + name + "' " + problem, folder);
  Descriptor base(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base.ok())
    return openError(folder, errno);
  Descriptor file = openBeneathByKernel(base.get(), name);
  if (!file.ok() && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
    file = openBeneathStepwise(base.get(), name);
  if (!file.ok() && (errno == ELOOP || errno == EXDEV || errno == ENOTDIR))
    return badInput("E0102", "'" + name + "' leads through a symbolic link or outside the folder", folder);
  if (!file.ok())
    return openError(folder + "/" + name, errno);
  return mapDescriptor(file.get(), folder + "/" + name);
}

Result<std::string> llmopt::readTextFile(const std::string &path, uint64_t limit) {
  Descriptor descriptor(::open(path.c_str(), kReadFlags));
  if (!descriptor.ok())
    return openError(path, errno);
  LLMOPT_ASSIGN(uint64_t size, regularFileSize(descriptor.get(), path));
  if (size > limit)
    return badInput("E0103", "file has " + std::to_string(size) + " bytes; the limit is " + std::to_string(limit),
                    path);
  std::string text(size, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    ssize_t count = ::read(descriptor.get(), text.data() + filled, text.size() - filled);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return badInput("E0101", "cannot be read at byte " + std::to_string(filled) + ": " + std::strerror(errno), path);
    if (count == 0) // became shorter meanwhile
      break;
    filled += size_t(count);
  }
  text.resize(filled);
  return text;
}
