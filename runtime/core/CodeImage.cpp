//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/CodeImage.h"

#include "llmopt/lib/Support/Hash.h"
#include "runtime/core/ElfChecker.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace llmopt;

static constexpr uint64_t kPage = 4096;

static Status systemError(const std::string &what, const std::string &context) {
  return badInput("E0101", what + ": " + std::strerror(errno), context);
}

/// The section's bytes, in memory of our own.
static Result<std::vector<std::byte>> readSection(const std::string &path, const Section &section) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return systemError("cannot be opened", path);
  std::vector<std::byte> bytes(section.length);
  size_t filled = 0;
  ssize_t count = 1;
  while (filled < bytes.size() && (count > 0 || (count < 0 && errno == EINTR))) {
    count = ::pread(descriptor, bytes.data() + filled, bytes.size() - filled, off_t(section.offset + filled));
    filled += count > 0 ? size_t(count) : 0;
  }
  int number = errno;
  ::close(descriptor);
  if (filled < bytes.size())
    return badInput("E0105", "cannot be read at byte " + std::to_string(section.offset + filled) + ": " +
                                 (count < 0 ? std::strerror(number) : "the file became shorter"), path);
  return bytes;
}

/// Segments become readable or executable, never writable: the image has no data to write.
static bool placeSegment(std::byte *base, std::span<const std::byte> bytes, const Elf64_Phdr &segment) {
  uint64_t begin = segment.p_vaddr / kPage * kPage, length = segment.p_vaddr + segment.p_filesz - begin;
  void *page = ::mmap(base + begin, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return false;
  std::memcpy(base + segment.p_vaddr, bytes.data() + segment.p_offset, segment.p_filesz);
  return ::mprotect(page, length, segment.p_flags & PF_X ? PROT_READ | PROT_EXEC : PROT_READ) == 0;
}

Result<CodeImage> CodeImage::load(const std::string &path, const Section &section) {
  std::string context = path + ", section '" + section.name + "'";
  if (section.length == 0 || section.offset % kPage != 0)
    return verificationFailed("E0207", "the code image is refused: it is empty or not aligned", context);
  LLMOPT_ASSIGN(std::vector<std::byte> bytes, readSection(path, section));
  // Again, on the very bytes that are to run: the path may lead to another file by now.
  if (hashBytes(bytes) != section.hash)
    return verificationFailed("E0205", "checksum mismatch in section '" + section.name + "'", path);
  LLMOPT_ASSIGN(ElfLayout layout, checkElf(bytes, context));

  CodeImage image;
  LLMOPT_ASSIGN(image.code_, Mapping::reserve(layout.span, context));
  for (const Elf64_Phdr &segment : layout.segments)
    if (!placeSegment(image.code_.data(), bytes, segment))
      return systemError("cannot be placed as code", context);
  for (const auto &[name, address] : layout.functions)
    image.functions_.emplace(name, image.code_.data() + address);
  return image;
}

const void *CodeImage::find(std::string_view name) const {
  auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : it->second;
}
