//===- ElementTypes.cpp - DType and MLIR element types --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/ElementTypes.h"

using namespace mlir;

Type llmopt::llm::elementTypeOf(MLIRContext *context, DType type) {
  auto integer = [&](unsigned width, IntegerType::SignednessSemantics sign = IntegerType::Signless) {
    return IntegerType::get(context, width, sign);
  };
  switch (type) {
  case DType::F32: return Float32Type::get(context);
  case DType::F64: return Float64Type::get(context);
  case DType::F16: return Float16Type::get(context);
  case DType::BF16: return BFloat16Type::get(context);
  case DType::I8: return integer(8);
  case DType::I16: return integer(16);
  case DType::I32: return integer(32);
  case DType::I64: return integer(64);
  case DType::U8: return integer(8, IntegerType::Unsigned);
  case DType::U16: return integer(16, IntegerType::Unsigned);
  case DType::U32: return integer(32, IntegerType::Unsigned);
  case DType::U64: return integer(64, IntegerType::Unsigned);
  case DType::Bool: return integer(1);
  case DType::F8E4M3FN: return Float8E4M3FNType::get(context);
  case DType::F8E4M3FNUZ: return Float8E4M3FNUZType::get(context);
  case DType::F8E5M2: return Float8E5M2Type::get(context);
  case DType::F8E5M2FNUZ: return Float8E5M2FNUZType::get(context);
  case DType::F8E8M0: return Float8E8M0FNUType::get(context);
  case DType::F6E2M3: return Float6E2M3FNType::get(context);
  case DType::F6E3M2: return Float6E3M2FNType::get(context);
  case DType::F4E2M1: return Float4E2M1FNType::get(context);
  case DType::I4: return integer(4);
  case DType::U4: return integer(4, IntegerType::Unsigned);
  case DType::I2: return integer(2);
  case DType::U2: return integer(2, IntegerType::Unsigned);
  }
  return {};
}

std::optional<llmopt::DType> llmopt::llm::dtypeOf(Type type) {
  if (type.isF32()) return DType::F32;
  if (type.isF64()) return DType::F64;
  if (type.isF16()) return DType::F16;
  if (type.isBF16()) return DType::BF16;
  if (type.isInteger(1)) return DType::Bool;
  if (isa<Float8E4M3FNType>(type)) return DType::F8E4M3FN;
  if (isa<Float8E4M3FNUZType>(type)) return DType::F8E4M3FNUZ;
  if (isa<Float8E5M2Type>(type)) return DType::F8E5M2;
  if (isa<Float8E5M2FNUZType>(type)) return DType::F8E5M2FNUZ;
  if (isa<Float8E8M0FNUType>(type)) return DType::F8E8M0;
  if (isa<Float6E2M3FNType>(type)) return DType::F6E2M3;
  if (isa<Float6E3M2FNType>(type)) return DType::F6E3M2;
  if (isa<Float4E2M1FNType>(type)) return DType::F4E2M1;
  bool isUnsigned = type.isUnsignedInteger();
  if (type.isInteger(2)) return isUnsigned ? DType::U2 : DType::I2;
  if (type.isInteger(4)) return isUnsigned ? DType::U4 : DType::I4;
  if (type.isInteger(8)) return isUnsigned ? DType::U8 : DType::I8;
  if (type.isInteger(16)) return isUnsigned ? DType::U16 : DType::I16;
  if (type.isInteger(32)) return isUnsigned ? DType::U32 : DType::I32;
  if (type.isInteger(64)) return isUnsigned ? DType::U64 : DType::I64;
  return std::nullopt;
}

DenseElementsAttr llmopt::llm::elementsFromTensor(MLIRContext *context, const Tensor &tensor) {
  auto type = RankedTensorType::get(tensor.shape(), elementTypeOf(context, tensor.dtype()));
  if (tensor.dtype() == DType::Bool) {
    SmallVector<bool> bits(tensor.as<uint8_t>(), tensor.as<uint8_t>() + tensor.elements());
    return DenseElementsAttr::get(type, ArrayRef<bool>(bits));
  }
  if (tensor.elements() == 0)
    return DenseElementsAttr::get(type, ArrayRef<Attribute>());
  return DenseElementsAttr::getFromRawBuffer(type, ArrayRef<char>(tensor.as<char>(), tensor.bytes()));
}
