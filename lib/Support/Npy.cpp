//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Npy.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

using namespace llmopt;

namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxRank = 32;

struct TypeRow {
  DType type;
  std::string_view descr;
};
constexpr std::array<TypeRow, 12> kTypes = {{{DType::F32, "<f4"},
                                             {DType::F64, "<f8"},
                                             {DType::F16, "<f2"},
                                             {DType::I8, "|i1"},
                                             {DType::I16, "<i2"},
                                             {DType::I32, "<i4"},
                                             {DType::I64, "<i8"},
                                             {DType::U8, "|u1"},
                                             {DType::U16, "<u2"},
                                             {DType::U32, "<u4"},
                                             {DType::U64, "<u8"},
                                             {DType::Bool, "|b1"}}};

struct Header {
  DType type = DType::F32;
  std::vector<int64_t> shape;
};

/// What follows `'key':` in the header's Python dictionary.
std::optional<std::string_view> valueAfter(std::string_view text, std::string_view key) {
  for (char quote : {'\'', '"'}) {
    std::string quoted = quote + std::string(key) + quote;
    size_t at = text.find(quoted);
    if (at == text.npos)
      continue;
    at = text.find_first_not_of(" \t", at + quoted.size());
    if (at == text.npos || text[at] != ':')
      return std::nullopt;
    at = text.find_first_not_of(" \t", at + 1);
    return at == text.npos ? std::string_view() : text.substr(at);
  }
  return std::nullopt;
}

/// "(2, 3, )"
std::optional<std::vector<int64_t>> parseShape(std::string_view text) {
  size_t close = text.find(')');
  if (text.empty() || text[0] != '(' || close == text.npos)
    return std::nullopt;
  std::vector<int64_t> shape;
  const char *at = text.data() + 1, *end = text.data() + close;
  while (true) {
    while (at < end && (*at == ' ' || *at == ','))
      ++at;
    if (at == end)
      return shape;
    int64_t dim = 0;
    auto [next, error] = std::from_chars(at, end, dim);
    if (error != std::errc() || dim < 0 || shape.size() == kMaxRank)
      return std::nullopt;
    shape.push_back(dim);
    at = next;
  }
}

Result<Header> parseHeader(std::string_view text, const std::string &path) {
  std::optional<std::string_view> descr = valueAfter(text, "descr"), order = valueAfter(text, "fortran_order"),
                                  shape = valueAfter(text, "shape");
  if (!descr || !order || !shape)
    return badInput("E0121", "npy header lacks one of 'descr', 'fortran_order', 'shape'", path);
  if (!order->starts_with("False"))
    return unsupported("E0122", "npy file is in Fortran order; save it with numpy.ascontiguousarray", path);
  std::string_view name = descr->size() > 5 ? descr->substr(1, 3) : std::string_view();
  Header header;
  const TypeRow *found = nullptr;
  for (const TypeRow &row : kTypes)
    if (row.descr == name || (row.descr[0] == '|' && !name.empty() && row.descr.substr(1) == name.substr(1)))
      found = &row;
  if (!found)
    return unsupported("E0122",
                       "npy element type " + std::string(descr->substr(0, descr->find(','))) +
                           " is not supported; use a little-endian number type or bool",
                       path);
  header.type = found->type;
  std::optional<std::vector<int64_t>> dims = parseShape(*shape);
  if (!dims)
    return badInput("E0121", "npy header has a malformed shape", path);
  header.shape = std::move(*dims);
  return header;
}

std::string makeHeader(DType type, const std::vector<int64_t> &shape) {
  std::string text = "{'descr': '";
  for (const TypeRow &row : kTypes)
    if (row.type == type)
      text += row.descr;
  text += "', 'fortran_order': False, 'shape': (";
  for (int64_t dim : shape)
    text += std::to_string(dim) + ", ";
  text += "), }";
  // NumPy aligns the data to 64 bytes; 10 bytes come before the header, one line end after.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text += '\n';
  return text;
}

/// The file format has no bf16 and nothing below a byte: the same numbers in a type that it has.
std::optional<Tensor> widened(const Tensor &tensor) {
  DType type = tensor.dtype();
  if (std::any_of(kTypes.begin(), kTypes.end(), [&](const TypeRow &row) { return row.type == type; }))
    return std::nullopt;
  if (isFloat(type)) {
    Tensor wide(DType::F32, tensor.shape());
    for (int64_t i = 0; i < tensor.elements(); ++i)
      wide.as<float>()[i] = float(tensor.at(i));
    return wide;
  }
  Tensor wide(type == DType::I4 || type == DType::I2 ? DType::I8 : DType::U8, tensor.shape());
  std::memcpy(wide.data(), tensor.data(), tensor.bytes());
  return wide;
}

} // namespace

Result<Tensor> llmopt::readNpy(const std::string &path) {
  LLMOPT_ASSIGN(MappedFile file, MappedFile::open(path));
  std::string_view text = file.text();
  if (text.size() < 12 || !text.starts_with(kMagic))
    return badInput("E0121", "not an npy file: it does not begin with \\x93NUMPY", path);
  uint8_t version = uint8_t(text[6]);
  if (version < 1 || version > 3)
    return unsupported("E0122", "npy format version " + std::to_string(version) + " is unknown", path);
  size_t prefix = version == 1 ? 10 : 12, length = 0;
  std::memcpy(&length, text.data() + 8, prefix - 8);
  if (length > text.size() - prefix)
    return badInput("E0121", "npy header is cut off", path);
  LLMOPT_ASSIGN(Header header, parseHeader(text.substr(prefix, length), path));
  std::string_view data = text.substr(prefix + length);
  std::optional<int64_t> count = checkedElementCount(header.shape);
  std::optional<uint64_t> bytes = count ? checkedMul(uint64_t(*count), dtypeSize(header.type)) : std::nullopt;
  if (!bytes || *bytes != data.size())
    return badInput("E0121",
                    "npy file holds " + std::to_string(data.size()) + " bytes of data; its shape needs " +
                        (bytes ? std::to_string(*bytes) : "more than 2^63"),
                    path);
  Tensor tensor(header.type, std::move(header.shape));
  if (!data.empty())
    std::memcpy(tensor.data(), data.data(), data.size());
  return tensor;
}

Status llmopt::writeNpy(const std::string &path, const Tensor &tensor) {
  if (std::optional<Tensor> wide = widened(tensor))
    return writeNpy(path, *wide);
  std::string header = makeHeader(tensor.dtype(), tensor.shape());
  std::string prefix(kMagic);
  prefix += {'\x01', '\x00', char(header.size() & 255), char(header.size() >> 8)};
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(prefix + header));
  LLMOPT_RETURN_IF_ERROR(file.write(std::span(static_cast<const std::byte *>(tensor.data()), tensor.bytes())));
  return file.commit();
}
