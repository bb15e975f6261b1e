//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/ElfChecker.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

using namespace llmopt;

namespace {

constexpr uint64_t kPage = 4096, kMaxSpan = uint64_t(1) << 30;

class Checker {
public:
  Checker(std::span<const std::byte> bytes, const std::string &context) : bytes_(bytes), context_(context) {}

  Result<ElfLayout> run() {
    LLMOPT_RETURN_IF_ERROR(checkHeader());
    for (const Elf64_Phdr &header : headers_)
      LLMOPT_RETURN_IF_ERROR(checkProgramHeader(header));
    LLMOPT_RETURN_IF_ERROR(readDynamic());
    LLMOPT_RETURN_IF_ERROR(readSymbols());
    return std::move(layout_);
  }

private:
  Status refuse(const std::string &why) const {
    return verificationFailed("E0207", "the code image is refused: " + why, context_);
  }

  /// Count elements of T at a file offset, copied out because nothing promises alignment.
  template <typename T>
  std::optional<std::vector<T>> read(uint64_t offset, uint64_t count) const {
    if (offset > bytes_.size() || count > (bytes_.size() - offset) / sizeof(T))
      return std::nullopt;
    std::vector<T> values(count);
    if (count)
      std::memcpy(values.data(), bytes_.data() + offset, count * sizeof(T));
    return values;
  }
  /// The same at an address of the image.
  template <typename T>
  std::optional<std::vector<T>> readAt(uint64_t address, uint64_t count) const {
    for (const Elf64_Phdr &segment : layout_.segments)
      if (address >= segment.p_vaddr && address - segment.p_vaddr <= segment.p_filesz) {
        uint64_t inside = address - segment.p_vaddr;
        if (count > (segment.p_filesz - inside) / sizeof(T))
          return std::nullopt;
        return read<T>(segment.p_offset + inside, count);
      }
    return std::nullopt;
  }

  Status checkHeader() {
    auto header = read<Elf64_Ehdr>(0, 1);
    if (!header || std::memcmp((*header)[0].e_ident, ELFMAG, SELFMAG) != 0)
      return refuse("it is no ELF file");
    const Elf64_Ehdr &elf = (*header)[0];
    if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB || elf.e_machine != EM_X86_64)
      return refuse("it is not for 64-bit x86");
    if (elf.e_type != ET_DYN)
      return refuse("it is no shared object");
    if (elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum > 64)
      return refuse("its program headers are malformed");
    auto headers = read<Elf64_Phdr>(elf.e_phoff, elf.e_phnum);
    if (!headers)
      return refuse("its program headers lie outside the section");
    headers_ = std::move(*headers);
    return {};
  }

  Status checkProgramHeader(const Elf64_Phdr &header) {
    switch (header.p_type) {
    case PT_LOAD:
      return checkSegment(header);
    case PT_DYNAMIC:
      dynamic_ = header;
      return {};
    case PT_INTERP:
      return refuse("it asks for an interpreter");
    case PT_TLS:
      return refuse("it has thread-local data");
    case PT_GNU_STACK:
      return header.p_flags & PF_X ? refuse("it asks for an executable stack") : Status();
    default: // notes, read-only ranges: nothing that has to be done
      return {};
    }
  }

  Status checkSegment(const Elf64_Phdr &segment) {
    if ((segment.p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
      return refuse("a segment is both writable and executable");
    // The linker may round a segment up to its page, but there is no zeroed data behind it.
    uint64_t tail = (kPage - (segment.p_vaddr + segment.p_filesz) % kPage) % kPage;
    if (segment.p_memsz < segment.p_filesz || segment.p_memsz - segment.p_filesz > tail)
      return refuse("a segment has " + std::to_string(segment.p_memsz) + " bytes in memory and " +
                    std::to_string(segment.p_filesz) + " in the file");
    if (segment.p_offset > bytes_.size() || segment.p_filesz > bytes_.size() - segment.p_offset)
      return refuse("a segment lies outside the section");
    if (segment.p_vaddr > kMaxSpan || segment.p_vaddr % kPage != segment.p_offset % kPage)
      return refuse("a segment cannot be mapped at its address");
    if (segment.p_filesz == 0)
      return {};
    if (segment.p_vaddr / kPage * kPage < layout_.span)
      return refuse("its segments share a page or are out of order");
    layout_.span = (segment.p_vaddr + segment.p_filesz + kPage - 1) / kPage * kPage;
    layout_.segments.push_back(segment);
    return {};
  }

  Status readDynamic() {
    if (layout_.segments.empty())
      return refuse("it has no segment");
    auto entries = read<Elf64_Dyn>(dynamic_.p_offset, dynamic_.p_filesz / sizeof(Elf64_Dyn));
    if (dynamic_.p_type != PT_DYNAMIC || !entries)
      return refuse("it has no dynamic section");
    for (const Elf64_Dyn &entry : *entries) {
      if (entry.d_tag == DT_NULL)
        break;
      LLMOPT_RETURN_IF_ERROR(checkDynamicEntry(entry));
    }
    return {};
  }

  Status checkDynamicEntry(const Elf64_Dyn &entry) {
    switch (entry.d_tag) {
    case DT_SYMTAB:
    case DT_STRTAB:
    case DT_STRSZ:
    case DT_HASH:
    case DT_GNU_HASH:
      tags_[entry.d_tag] = entry.d_un.d_val;
      return {};
    case DT_SYMENT:
      return entry.d_un.d_val == sizeof(Elf64_Sym) ? Status() : refuse("its symbols have another size");
    case DT_SONAME:
    case DT_FLAGS_1:
      return {};
    case DT_FLAGS:
      return entry.d_un.d_val & DF_TEXTREL ? refuse("it has relocations in its code") : Status();
    case DT_NEEDED:
      return refuse("it needs another library");
    case DT_INIT:
    case DT_FINI:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_PREINIT_ARRAY:
      return refuse("it has constructors or destructors");
    case DT_REL:
    case DT_RELA:
    case DT_RELR:
    case DT_JMPREL:
    case DT_TEXTREL:
      return refuse("it has relocations");
    default:
      return refuse("its dynamic section has an unknown entry " + std::to_string(entry.d_tag));
    }
  }

  /// Number of symbols, which only the hash tables know.
  std::optional<uint64_t> symbolCount() const {
    if (auto it = tags_.find(DT_HASH); it != tags_.end()) {
      auto header = readAt<uint32_t>(it->second, 2);
      return header ? std::optional<uint64_t>((*header)[1]) : std::nullopt;
    }
    auto it = tags_.find(DT_GNU_HASH);
    auto header = it == tags_.end() ? std::nullopt : readAt<uint32_t>(it->second, 4);
    if (!header)
      return std::nullopt;
    uint64_t buckets = (*header)[0], firstSymbol = (*header)[1], bloomWords = (*header)[2];
    uint64_t bucketAddress = it->second + 16 + bloomWords * 8, chainAddress = bucketAddress + buckets * 4;
    auto heads = readAt<uint32_t>(bucketAddress, buckets);
    if (!heads || heads->empty())
      return std::nullopt;
    uint64_t last = *std::max_element(heads->begin(), heads->end());
    if (last < firstSymbol)
      return firstSymbol;
    // The lowest bit of a hash marks the end of a chain.
    for (;; ++last) {
      auto hash = readAt<uint32_t>(chainAddress + (last - firstSymbol) * 4, 1);
      if (!hash)
        return std::nullopt;
      if ((*hash)[0] & 1)
        return last + 1;
    }
  }

  Status readSymbols() {
    std::optional<uint64_t> count = symbolCount();
    auto symbols = count ? readAt<Elf64_Sym>(tags_[DT_SYMTAB], *count) : std::nullopt;
    auto names = readAt<char>(tags_[DT_STRTAB], tags_[DT_STRSZ]);
    if (!symbols || !names || names->empty() || names->back() != 0)
      return refuse("its symbol table is malformed");
    for (size_t i = 1; i < symbols->size(); ++i) {
      const Elf64_Sym &symbol = (*symbols)[i];
      if (symbol.st_name >= names->size())
        return refuse("its symbol table is malformed");
      std::string name = names->data() + symbol.st_name;
      if (symbol.st_shndx == SHN_UNDEF)
        return refuse("symbol '" + name + "' is undefined");
      if (ELF64_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC)
        return refuse("symbol '" + name + "' is resolved by running code");
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && isCode(symbol.st_value))
        layout_.functions.emplace_back(std::move(name), symbol.st_value);
    }
    return {};
  }

  bool isCode(uint64_t address) const {
    return std::any_of(layout_.segments.begin(), layout_.segments.end(), [&](const Elf64_Phdr &s) {
      return (s.p_flags & PF_X) && address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz;
    });
  }

  std::span<const std::byte> bytes_;
  const std::string &context_;
  std::vector<Elf64_Phdr> headers_;
  Elf64_Phdr dynamic_ = {};
  std::map<int64_t, uint64_t> tags_;
  ElfLayout layout_;
};

} // namespace

Result<ElfLayout> llmopt::checkElf(std::span<const std::byte> bytes, const std::string &context) {
  return Checker(bytes, context).run();
}
