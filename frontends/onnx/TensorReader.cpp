//===- TensorReader.cpp - tensors of an ONNX file -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TensorReader.h"

#include "ModelFile.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "onnx.pb.h"

#include <algorithm>
#include <cstring>

namespace llmopt::onnx {

static constexpr const char *kTypeNames[] = {
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32",
    "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4",
    "INT4", "FLOAT4E2M1", "FLOAT8E8M0", "UINT2", "INT2", "FLOAT6E2M3", "FLOAT6E3M2"};

std::string onnxTypeName(int32_t type) {
  return type >= 0 && size_t(type) < std::size(kTypeNames) ? kTypeNames[type] : "data type " + std::to_string(type);
}

int32_t onnxTypeNumber(const std::string &name) {
  auto found = std::find(std::begin(kTypeNames), std::end(kTypeNames), name);
  return found == std::end(kTypeNames) ? 999 : int32_t(found - std::begin(kTypeNames));
}

Result<DType> dtypeOf(int32_t type, const std::string &context) {
  switch (type) {
  case Float: return DType::F32;
  case Double: return DType::F64;
  case Float16: return DType::F16;
  case BFloat16: return DType::BF16;
  case Int8: return DType::I8;
  case Int16: return DType::I16;
  case Int32: return DType::I32;
  case Int64: return DType::I64;
  case UInt8: return DType::U8;
  case UInt16: return DType::U16;
  case UInt32: return DType::U32;
  case UInt64: return DType::U64;
  case Bool: return DType::Bool;
  case Float8E4M3FN: return DType::F8E4M3FN;
  case Float8E4M3FNUZ: return DType::F8E4M3FNUZ;
  case Float8E5M2: return DType::F8E5M2;
  case Float8E5M2FNUZ: return DType::F8E5M2FNUZ;
  case Float8E8M0: return DType::F8E8M0;
  case Float6E2M3: return DType::F6E2M3;
  case Float6E3M2: return DType::F6E3M2;
  case Float4E2M1: return DType::F4E2M1;
  case Int4: return DType::I4;
  case UInt4: return DType::U4;
  case Int2: return DType::I2;
  case UInt2: return DType::U2;
  default: break;
  }
  if (type <= Undefined || type > Float6E3M2)
    return badInput(kTensor, "element type " + onnxTypeName(type) + " does not exist", context);
  return unsupported(kUnsupported, "element type " + onnxTypeName(type) + " is not supported", context);
}

namespace {

/// Elements converted one by one into bytes of their own.
template <typename To, typename Field>
std::vector<std::byte> convertField(const Field &field) {
  std::vector<std::byte> bytes(size_t(field.size()) * sizeof(To));
  for (int i = 0; i < field.size(); ++i) {
    To value = To(field.Get(i));
    std::memcpy(bytes.data() + size_t(i) * sizeof(To), &value, sizeof(To));
  }
  return bytes;
}

/// The typed field of the format that holds elements of this type.
Result<std::vector<std::byte>> typedData(const TensorProto &tensor, int32_t type, const std::string &context) {
  switch (type) {
  case Float: return convertField<float>(tensor.float_data());
  case Double: return convertField<double>(tensor.double_data());
  case Int64: return convertField<int64_t>(tensor.int64_data());
  case UInt64: return convertField<uint64_t>(tensor.uint64_data());
  case UInt32: return convertField<uint32_t>(tensor.uint64_data());
  case Int32: return convertField<int32_t>(tensor.int32_data());
  case Int16: case UInt16: case Float16: case BFloat16: return convertField<uint16_t>(tensor.int32_data());
  case Int8: case UInt8: case Bool: case Int4: case UInt4: case Int2: case UInt2: case Float8E4M3FN: case Float8E4M3FNUZ:
  case Float8E5M2: case Float8E5M2FNUZ: case Float8E8M0: case Float6E2M3: case Float6E3M2: case Float4E2M1:
    return convertField<uint8_t>(tensor.int32_data());
  default: return unsupported(kUnsupported, "element type " + onnxTypeName(type) + " is not supported", context);
  }
}

StoredWeight own(DType type, std::vector<int64_t> shape, std::vector<std::byte> bytes) {
  auto keeper = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  return {type, std::move(shape), std::span<const std::byte>(*keeper), keeper};
}

Result<int64_t> checkedCount(const TensorProto &tensor, const std::string &context) {
  if (tensor.dims_size() > kMaxRank)
    return badInput(kTensor, "rank " + std::to_string(tensor.dims_size()) + " > " + std::to_string(kMaxRank), context);
  for (int64_t dim : tensor.dims())
    if (dim < 0)
      return badInput(kTensor, "dimension " + std::to_string(dim) + " is negative", context);
  auto count = checkedElementCount({tensor.dims().data(), size_t(tensor.dims_size())});
  // Eight bytes an element is the widest type.
  if (!count || *count > INT64_MAX / 8)
    return badInput(kTensor, "the number of elements overflows 64 bits", context);
  return *count;
}

} // namespace

Result<StoredWeight> readTensor(const TensorProto &tensor, const std::shared_ptr<const void> &owner, ExternalFiles *external,
                                const std::string &context) {
  LLMOPT_ASSIGN(int64_t count, checkedCount(tensor, context));
  if (tensor.has_segment())
    return unsupported(kUnsupported, "tensors in segments are not supported", context);
  int32_t type = tensor.data_type();
  // A type without a size cannot be checked against its bytes, so it is refused first.
  LLMOPT_ASSIGN(DType dtype, dtypeOf(type, context));
  uint64_t needed = packedBytes(dtype, uint64_t(count));
  bool isPacked = needed != uint64_t(count) * dtypeSize(dtype);
  StoredWeight result{dtype, {tensor.dims().begin(), tensor.dims().end()}, {}, owner};

  if (tensor.data_location() == 1) {
    if (!external)
      return badInput(kExternal, "external data is not allowed here", context);
    LLMOPT_ASSIGN(StoredWeight data, external->read(tensor, needed, context));
    result.bytes = data.bytes;
    result.keeper = data.keeper;
  } else if (tensor.has_raw_data()) {
    result.bytes = std::as_bytes(std::span(tensor.raw_data().data(), tensor.raw_data().size()));
  } else {
    LLMOPT_ASSIGN(auto bytes, typedData(tensor, type, context));
    if (dtypeBits(dtype) == 6) { // the typed field has these one by one
      isPacked = false;
      needed = uint64_t(count);
    }
    result = own(dtype, std::move(result.shape), std::move(bytes));
  }
  if (result.bytes.size() != needed)
    return badInput(kTensor, "the data has " + std::to_string(result.bytes.size()) + " bytes, the shape needs " +
                                 std::to_string(needed), context);
  if (isPacked) {
    std::vector<std::byte> elements(static_cast<size_t>(count));
    unpackElements(dtype, result.bytes, elements);
    return own(dtype, std::move(result.shape), std::move(elements));
  }
  // Readers take elements through typed pointers.
  if (reinterpret_cast<uintptr_t>(result.bytes.data()) % dtypeSize(dtype) != 0)
    return own(dtype, std::move(result.shape), {result.bytes.begin(), result.bytes.end()});
  return result;
}

} // namespace llmopt::onnx
