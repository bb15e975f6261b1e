//===- DeviceImage.cpp - what a cubin or PTX says about its kernels -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/DeviceImage.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <elf.h>
#include <map>
#include <optional>

using namespace llmopt;

namespace {

constexpr uint16_t kCudaMachine = 190;          // EM_CUDA
constexpr uint8_t kParameterInfo = 0x17, kRegisterCount = 0x2f; // EIATTR_KPARAM_INFO, EIATTR_REGCOUNT
constexpr uint8_t kSized = 4;                   // EIFMT_SVAL: a size and as many bytes; other forms have no more than the word itself
constexpr uint32_t kMostParameterBytes = 32764; // of one kernel, from CUDA 12.1 on
constexpr size_t kMostParameters = 4096;

using Bytes = std::span<const std::byte>;

/// A value at an offset; nothing outside of the bytes.
template <typename T>
std::optional<T> at(Bytes bytes, uint64_t offset) {
  T value;
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset)
    return std::nullopt;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string_view stringAt(Bytes table, uint64_t offset) {
  if (offset >= table.size())
    return {};
  const char *text = reinterpret_cast<const char *>(table.data()) + offset;
  const void *end = std::memchr(text, 0, table.size() - offset);
  return end ? std::string_view(text, size_t(static_cast<const char *>(end) - text)) : std::string_view();
}

class CubinReader {
public:
  CubinReader(Bytes bytes, const std::string &context) : bytes_(bytes), context_(context) {}
  Result<DeviceImage> read();

private:
  Status damaged(const std::string &what) { return badInput("E0213", "not a cubin that can be used: " + what, context_); }
  Status readSections();
  Status readParameters(Bytes info, ImageKernel &kernel);
  void readRegisters(Bytes info, DeviceImage &image);
  std::optional<Bytes> contents(const Elf64_Shdr &section) const {
    if (section.sh_offset > bytes_.size() || section.sh_size > bytes_.size() - section.sh_offset)
      return std::nullopt;
    return bytes_.subspan(section.sh_offset, section.sh_size);
  }

  Bytes bytes_;
  const std::string &context_;
  std::map<std::string, Bytes, std::less<>> sections_;
  Elf64_Ehdr header_ = {};
};

/// Calls `take(attribute, value)` for each sized attribute of a ".nv.info" section; false where it ends too early.
template <typename Take>
bool forAttributes(Bytes info, Take take) {
  for (uint64_t offset = 0; offset < info.size();) {
    auto form = at<uint8_t>(info, offset), attribute = at<uint8_t>(info, offset + 1);
    auto size = at<uint16_t>(info, offset + 2);
    if (!form || !attribute || !size)
      return false;
    offset += 4;
    if (*form != kSized)
      continue;
    if (*size > info.size() - offset)
      return false;
    take(*attribute, info.subspan(offset, *size));
    offset += *size;
  }
  return true;
}

Status CubinReader::readSections() {
  auto header = at<Elf64_Ehdr>(bytes_, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != kCudaMachine)
    return damaged("it is no 64-bit ELF file for NVIDIA GPUs");
  header_ = *header;
  if (header_.e_shentsize != sizeof(Elf64_Shdr))
    return damaged("its section headers have another size");
  std::vector<Elf64_Shdr> sections;
  for (uint64_t i = 0; i < header_.e_shnum; ++i) {
    auto section = header_.e_shoff > bytes_.size() ? std::nullopt : at<Elf64_Shdr>(bytes_, header_.e_shoff + i * sizeof(Elf64_Shdr));
    if (!section)
      return damaged("section header " + std::to_string(i) + " lies outside of the file");
    sections.push_back(*section);
  }
  if (header_.e_shstrndx >= sections.size() || !contents(sections[header_.e_shstrndx]))
    return damaged("it has no names of sections");
  Bytes names = *contents(sections[header_.e_shstrndx]);
  for (const Elf64_Shdr &section : sections) {
    std::string_view name = stringAt(names, section.sh_name);
    if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL)
      continue;
    std::optional<Bytes> inside = contents(section);
    if (!inside)
      return damaged("section '" + std::string(name) + "' lies outside of the file");
    sections_.emplace(name, *inside);
  }
  return {};
}

Status CubinReader::readParameters(Bytes info, ImageKernel &kernel) {
  std::map<uint32_t, uint32_t> sizes;
  bool fits = true;
  bool complete = forAttributes(info, [&](uint8_t attribute, Bytes value) {
    if (attribute != kParameterInfo)
      return;
    auto ordinal = at<uint16_t>(value, 4);
    auto packed = at<uint32_t>(value, 8);
    uint32_t size = packed ? *packed >> 18 : 0;
    fits &= ordinal && *ordinal < kMostParameters && size > 0 && size <= kMostParameterBytes && sizes.emplace(*ordinal, size).second;
  });
  if (!complete || !fits || (!sizes.empty() && sizes.rbegin()->first + 1 != sizes.size()))
    return damaged("the parameters of kernel '" + kernel.name + "' contradict themselves");
  for (auto [ordinal, size] : sizes)
    kernel.parameterBytes.push_back(size);
  return {};
}

void CubinReader::readRegisters(Bytes info, DeviceImage &image) {
  auto symbols = sections_.find(".symtab"), names = sections_.find(".strtab");
  if (symbols == sections_.end() || names == sections_.end())
    return;
  forAttributes(info, [&](uint8_t attribute, Bytes value) {
    auto index = at<uint32_t>(value, 0), count = at<uint32_t>(value, 4);
    if (attribute != kRegisterCount || !index || !count)
      return;
    auto symbol = at<Elf64_Sym>(symbols->second, uint64_t(*index) * sizeof(Elf64_Sym));
    for (ImageKernel &kernel : image.kernels)
      if (symbol && stringAt(names->second, symbol->st_name) == kernel.name)
        kernel.registers = *count;
  });
}

Result<DeviceImage> CubinReader::read() {
  LLMOPT_RETURN_IF_ERROR(readSections());
  DeviceImage image;
  // From version 8 of the ABI on (CUDA 13) the architecture stands one byte higher.
  image.capability = int(header_.e_ident[EI_ABIVERSION] >= 8 ? (header_.e_flags >> 8) & 0xff : header_.e_flags & 0xff);
  constexpr std::string_view kInfo = ".nv.info", kCode = ".text.";
  for (const auto &[name, bytes] : sections_) {
    if (!name.starts_with(kCode))
      continue;
    ImageKernel kernel{name.substr(kCode.size()), {}, 0};
    auto info = sections_.find(std::string(kInfo) + "." + kernel.name);
    if (info == sections_.end())
      continue; // a function that is no kernel
    LLMOPT_RETURN_IF_ERROR(readParameters(info->second, kernel));
    image.kernels.push_back(std::move(kernel));
  }
  if (image.kernels.empty())
    return damaged("it has no kernel");
  if (auto info = sections_.find(kInfo); info != sections_.end())
    readRegisters(info->second, image);
  return image;
}

/// Text of PTX without its comments.
std::string withoutComments(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, 2) == "//") {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.substr(i, 2) == "/*") {
      size_t end = text.find("*/", i + 2);
      i = end == text.npos ? text.size() : end + 2;
    } else {
      plain += text[i++];
    }
  }
  return plain;
}

/// Words of PTX; punctuation stands alone.
std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> found;
  auto isWord = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '$' || c == '%'; };
  for (size_t i = 0; i < text.size();) {
    if (std::isspace(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    if (isWord(text[i]))
      while (end < text.size() && isWord(text[end]))
        ++end;
    found.push_back(text.substr(i, end - i));
    i = end;
  }
  return found;
}

/// Digits as a number up to `most`; 0 for anything else.
uint32_t numberIn(std::string_view digits, uint32_t most) {
  uint64_t value = 0;
  for (char c : digits) {
    if (!std::isdigit(static_cast<unsigned char>(c)) || value > most)
      return 0;
    value = value * 10 + uint64_t(c - '0');
  }
  return value <= most ? uint32_t(value) : 0;
}

/// Bytes of one parameter: ".param .align 64 .b8 x[128]" or ".param .u64 .ptr .global .align 1 x"; 0 where it is none.
uint32_t parameterBytes(std::span<const std::string_view> parameter) {
  uint32_t bytes = 0;
  for (size_t i = 0; i < parameter.size(); ++i) {
    std::string_view word = parameter[i];
    if (word.size() >= 3 && word[0] == '.' && std::string_view("busf").find(word[1]) != std::string_view::npos && numberIn(word.substr(2), 64))
      bytes = numberIn(word.substr(2), 64) / 8;
    if (word == "[" && i + 1 < parameter.size())
      bytes *= numberIn(parameter[i + 1], kMostParameterBytes);
  }
  return bytes <= kMostParameterBytes ? bytes : 0;
}

} // namespace

const ImageKernel *DeviceImage::find(std::string_view name) const {
  auto it = std::find_if(kernels.begin(), kernels.end(), [&](const ImageKernel &kernel) { return kernel.name == name; });
  return it == kernels.end() ? nullptr : &*it;
}

/// "8, 8, 4"
static std::string list(std::span<const uint32_t> bytes) {
  std::string text;
  for (uint32_t size : bytes)
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return text.empty() ? "none" : text;
}

Status llmopt::checkKernel(const DeviceImage &image, const DeviceKernel &kernel, int capability, const std::string &context) {
  auto refuse = [&](const std::string &what) { return badInput("E0987", what, context); };
  if (image.capability / 10 != capability / 10 || image.capability > capability)
    return refuse("the image is for sm_" + std::to_string(image.capability) + ", the target is sm_" + std::to_string(capability));
  const ImageKernel *found = image.find(kernel.entryName());
  if (!found) {
    std::string names;
    for (const ImageKernel &other : image.kernels)
      names += (names.empty() ? "" : ", ") + other.name;
    return refuse("the image has no kernel '" + kernel.entryName() + "'; it has " + names);
  }
  std::vector<uint32_t> given;
  for (const DeviceParameter &parameter : kernel.parameters)
    given.push_back(parameter.bytes);
  if (found->parameterBytes != given)
    return refuse("kernel '" + found->name + "' takes parameters of (" + list(found->parameterBytes) + ") bytes, but would be launched with (" + list(given) + ")");
  return {};
}

Result<DeviceImage> llmopt::readCubin(std::span<const std::byte> bytes, const std::string &context) { return CubinReader(bytes, context).read(); }

Result<DeviceImage> llmopt::readPtx(std::string_view text, const std::string &context) {
  auto damaged = [&](const std::string &what) { return badInput("E0213", "not PTX that can be used: " + what, context); };
  std::string plain = withoutComments(text.substr(0, text.find('\0')));
  std::vector<std::string_view> all = words(plain);
  DeviceImage image;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    if (all[i] == ".target" && all[i + 1].starts_with("sm_")) {
      std::string_view number = all[i + 1].substr(3);
      image.capability = int(numberIn(number.substr(0, number.find_first_not_of("0123456789")), 999));
    }
    if (all[i] != ".entry")
      continue;
    ImageKernel kernel{std::string(all[i + 1]), {}, 0};
    auto end = all.begin() + ptrdiff_t(i) + 2, begin = end;
    if (end != all.end() && *end == "(") {
      begin = end + 1;
      end = std::find(begin, all.end(), ")");
      if (end == all.end())
        return damaged("the parameters of kernel '" + kernel.name + "' have no end");
    }
    for (auto comma = begin; begin < end; begin = comma + 1) {
      comma = std::find(begin, end, ",");
      uint32_t size = parameterBytes({begin, comma});
      if (size == 0)
        return damaged("parameter " + std::to_string(kernel.parameterBytes.size()) + " of kernel '" + kernel.name + "' has no size");
      kernel.parameterBytes.push_back(size);
      if (comma == end)
        break;
    }
    image.kernels.push_back(std::move(kernel));
  }
  if (image.kernels.empty() || image.capability == 0)
    return damaged("it names no target or no kernel");
  return image;
}
