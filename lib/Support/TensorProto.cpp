//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/TensorProto.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/File.h"

#include <cstring>
#include <optional>
#include <vector>

using namespace llmopt;

namespace {

/// One field of a message: a number, or bytes.
struct Field {
  uint32_t number = 0, wire = 0; ///< wire: 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32
  uint64_t value = 0;
  std::span<const std::byte> bytes;
};

class WireReader {
public:
  explicit WireReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  bool atEnd() const { return rest_.empty(); }

  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      uint64_t byte = uint64_t(rest_.front());
      rest_ = rest_.subspan(1);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80)
        return value;
    }
    return std::nullopt;
  }
  std::optional<uint64_t> fixed(size_t size) {
    std::optional<std::span<const std::byte>> bytes = take(size);
    if (!bytes)
      return std::nullopt;
    uint64_t value = 0;
    std::memcpy(&value, bytes->data(), size);
    return value;
  }
  std::optional<Field> field() {
    std::optional<uint64_t> tag = varint(), number;
    if (!tag || *tag >> 3 == 0 || *tag >> 3 > 0x1fffffff)
      return std::nullopt;
    Field field{.number = uint32_t(*tag >> 3), .wire = uint32_t(*tag & 7), .bytes = {}};
    if (field.wire == 2) {
      std::optional<uint64_t> length = varint();
      std::optional<std::span<const std::byte>> bytes = length ? take(*length) : std::nullopt;
      if (!bytes)
        return std::nullopt;
      field.bytes = *bytes;
      return field;
    }
    number = field.wire == 0 ? varint() : field.wire == 1 ? fixed(8) : field.wire == 5 ? fixed(4) : std::nullopt;
    if (!number)
      return std::nullopt;
    field.value = *number;
    return field;
  }

private:
  std::optional<std::span<const std::byte>> take(uint64_t size) {
    if (size > rest_.size())
      return std::nullopt;
    std::span<const std::byte> bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }
  std::span<const std::byte> rest_;
};

enum FieldNumber : uint32_t {
  kDims = 1, kDataType = 2, kFloatData = 4, kInt32Data = 5, kStringData = 6, kInt64Data = 7, kName = 8, kRawData = 9,
  kDoubleData = 10, kUint64Data = 11, kExternalData = 13, kDataLocation = 14
};

std::optional<DType> elementType(uint64_t onnx) {
  static constexpr std::pair<int, DType> kTypes[] = {
      {1, DType::F32}, {2, DType::U8},   {3, DType::I8},   {4, DType::U16},  {5, DType::I16},  {6, DType::I32}, {7, DType::I64},
      {9, DType::Bool}, {10, DType::F16}, {11, DType::F64}, {12, DType::U32}, {13, DType::U64}, {16, DType::BF16},
      {17, DType::F8E4M3FN}, {18, DType::F8E4M3FNUZ}, {19, DType::F8E5M2}, {20, DType::F8E5M2FNUZ}, {21, DType::U4}, {22, DType::I4},
      {23, DType::F4E2M1}, {24, DType::F8E8M0}, {25, DType::U2}, {26, DType::I2}, {27, DType::F6E2M3}, {28, DType::F6E3M2}};
  for (auto [number, type] : kTypes)
    if (uint64_t(number) == onnx)
      return type;
  return std::nullopt;
}

/// What a message said, before it is one tensor.
struct Parts {
  std::vector<int64_t> dims;
  uint64_t type = 0;
  std::string name;
  std::optional<std::span<const std::byte>> raw;
  std::vector<uint64_t> numbers; ///< the bits of each typed element
  bool external = false, strings = false;
};

/// Repeated numbers, packed into bytes or one by one; `size` 0 means varints.
bool appendNumbers(const Field &field, size_t size, std::vector<uint64_t> &numbers) {
  if (field.wire != 2) {
    numbers.push_back(field.value);
    return true;
  }
  WireReader reader(field.bytes);
  while (!reader.atEnd()) {
    std::optional<uint64_t> value = size ? reader.fixed(size) : reader.varint();
    if (!value)
      return false;
    numbers.push_back(*value);
  }
  return true;
}

bool addField(const Field &field, Parts &parts) {
  std::vector<uint64_t> dims;
  switch (field.number) {
  case kDims:
    if (!appendNumbers(field, 0, dims))
      return false;
    parts.dims.insert(parts.dims.end(), dims.begin(), dims.end());
    return true;
  case kDataType:
    parts.type = field.value;
    return true;
  case kName:
    parts.name.assign(reinterpret_cast<const char *>(field.bytes.data()), field.bytes.size());
    return true;
  case kRawData:
    parts.raw = field.bytes;
    return true;
  case kFloatData:
    return appendNumbers(field, 4, parts.numbers);
  case kDoubleData:
    return appendNumbers(field, 8, parts.numbers);
  case kInt32Data:
  case kInt64Data:
  case kUint64Data:
    return appendNumbers(field, 0, parts.numbers);
  case kStringData:
    parts.strings = true;
    return true;
  case kExternalData:
    parts.external = true;
    return true;
  default:
    return true;
  }
}

Status fillTensor(const Parts &parts, Tensor &tensor, const std::string &context) {
  DType type = tensor.dtype();
  size_t size = dtypeSize(type), packed = size_t(packedBytes(type, uint64_t(tensor.elements())));
  // Numbers of 4 and 2 bits lie together in each typed element, those of 6 bits do not.
  bool isPacked = packed != tensor.bytes() && (parts.raw || dtypeBits(type) != 6);
  size_t wanted = parts.raw || isPacked ? packed : size_t(tensor.elements());
  if ((parts.raw ? parts.raw->size() : parts.numbers.size()) != wanted)
    return badInput("E0121", "tensor of type " + tensor.typeName() + " has " +
                                 std::to_string(parts.raw ? parts.raw->size() : parts.numbers.size()) +
                                 (parts.raw ? " bytes" : " elements"), context);
  std::span<std::byte> out(static_cast<std::byte *>(tensor.data()), tensor.bytes());
  if (isPacked && parts.raw) {
    unpackElements(type, *parts.raw, out);
    return {};
  }
  if (isPacked) {
    std::vector<std::byte> bytes;
    for (uint64_t number : parts.numbers)
      bytes.push_back(std::byte(number));
    unpackElements(type, bytes, out);
    return {};
  }
  if (parts.raw && tensor.bytes())
    std::memcpy(tensor.data(), parts.raw->data(), tensor.bytes());
  // Each typed field keeps the element's bits in its low bytes.
  for (size_t i = 0; !parts.raw && i < parts.numbers.size(); ++i)
    std::memcpy(static_cast<std::byte *>(tensor.data()) + i * size, &parts.numbers[i], size);
  return {};
}

} // namespace

Result<ProtoTensor> llmopt::parseTensorProto(std::span<const std::byte> bytes, const std::string &context) {
  Parts parts;
  WireReader reader(bytes);
  while (!reader.atEnd()) {
    std::optional<Field> field = reader.field();
    if (!field || !addField(*field, parts))
      return badInput("E0121", "not an ONNX tensor: truncated or corrupt protobuf", context);
  }
  std::optional<DType> type = elementType(parts.type);
  if (parts.external || parts.strings || (!type && parts.type != 0))
    return unsupported("E0122", parts.external ? "the tensor's data lies in another file" :
                                "element type " + std::to_string(parts.type) + " of ONNX is not supported", context);
  std::optional<int64_t> count = checkedElementCount(parts.dims);
  if (!type || parts.dims.size() > 32 || !count ||
      packedBytes(*type, uint64_t(*count)) / dtypeSize(*type) > bytes.size())
    return badInput("E0121", "not an ONNX tensor: no element type, or dimensions that do not fit its data", context);
  ProtoTensor result{std::move(parts.name), Tensor(*type, std::move(parts.dims))};
  LLMOPT_RETURN_IF_ERROR(fillTensor(parts, result.tensor, context));
  return result;
}

Result<ProtoTensor> llmopt::readTensorProto(const std::string &path) {
  LLMOPT_ASSIGN(MappedFile file, MappedFile::open(path));
  return parseTensorProto(file.bytes(), path);
}
