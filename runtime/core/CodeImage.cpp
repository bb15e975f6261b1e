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

using namespace llmopt;

static constexpr uint64_t kPage = 4096;

namespace {
struct OpenFile {
  int descriptor;
  ~OpenFile() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
};
} // namespace

static Status systemError(const char *what, const std::string &context) {
  return badInput("E0101", std::string(what) + ": " + std::strerror(errno), context);
}

/// Some file systems are mounted without the right to execute: then the pages are copied.
static bool copySegment(std::byte *target, std::span<const std::byte> bytes, const Elf64_Phdr &segment, uint64_t begin,
                        uint64_t length, int protection) {
  void *page = ::mmap(target, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return false;
  std::memcpy(target + (segment.p_vaddr - begin), bytes.data() + segment.p_offset, segment.p_filesz);
  return ::mprotect(target, length, protection) == 0;
}

/// Segments become readable or executable, never writable: the image has no data to write.
static bool mapSegment(std::byte *base, int descriptor, uint64_t sectionOffset, std::span<const std::byte> bytes,
                       const Elf64_Phdr &segment) {
  uint64_t begin = segment.p_vaddr / kPage * kPage, length = segment.p_vaddr + segment.p_filesz - begin;
  int protection = segment.p_flags & PF_X ? PROT_READ | PROT_EXEC : PROT_READ;
  void *page = ::mmap(base + begin, length, protection, MAP_PRIVATE | MAP_FIXED, descriptor,
                      off_t(sectionOffset + segment.p_offset / kPage * kPage));
  return page != MAP_FAILED || copySegment(base + begin, bytes, segment, begin, length, protection);
}

Result<CodeImage> CodeImage::load(const std::string &path, const Section &section) {
  std::string context = path + ", section '" + section.name + "'";
  OpenFile file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0)
    return systemError("cannot be opened", path);
  if (section.length == 0 || section.offset % kPage != 0)
    return verificationFailed("E0207", "the code image is refused: it is empty or not aligned", context);
  LLMOPT_ASSIGN(Mapping bytes, Mapping::ofFile(file.descriptor, section.offset, section.length, context));
  std::span<const std::byte> view = bytes.bytes();
  // Again, on the very pages that are to run: the path may lead to another file by now.
  if (hashBytes(view) != section.hash)
    return verificationFailed("E0205", "checksum mismatch in section '" + section.name + "'", path);
  LLMOPT_ASSIGN(ElfLayout layout, checkElf(view, context));

  CodeImage image;
  LLMOPT_ASSIGN(image.code_, Mapping::reserve(layout.span, context));
  for (const Elf64_Phdr &segment : layout.segments)
    if (!mapSegment(image.code_.data(), file.descriptor, section.offset, view, segment))
      return systemError("cannot be mapped as code", context);
  for (const auto &[name, address] : layout.functions)
    image.functions_.emplace(name, image.code_.data() + address);
  return image;
}

const void *CodeImage::find(std::string_view name) const {
  auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : it->second;
}
