//===- ContribQuantized.cpp - com.microsoft: quantized weights ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

#include "llmopt/lib/Analysis/Projection.h"

using namespace mlir;

namespace llmopt::onnx {

Value unpackCodes(Emitter &e, Value packed, int64_t bits) {
  if (bits == 8 || !packed)
    return packed;
  int64_t rank = e.rank(packed), perByte = 8 / bits;
  Type type = e.elementType(packed);
  llvm::SmallVector<Value> parts;
  for (int64_t i = 0; i < perByte; ++i) {
    Value shifted = i == 0 ? packed : e.binary("llm.shr", packed, e.scalar(type, double(i * bits)));
    parts.push_back(e.expandDims(e.binary("llm.and", shifted, e.scalar(type, double((1 << bits) - 1))), rank));
  }
  Value joined = e.concat(parts, rank);
  llvm::SmallVector<DimProduct> dims;
  for (int64_t i = 0; i < rank; ++i)
    dims.push_back(DimProduct(packed, i));
  dims.back() *= perByte;
  return e.reshapeDims(joined, dims);
}

static bool isU8(Emitter &e, Value v) { return e.elementType(v).isUnsignedInteger(8); }

/// y = A W^T with W [N, K] in blocks along K. Inputs: A, B u8 [N, blocks, bytes], scales, zero_points?, g_idx?, bias?. Of accuracy_level only 4, 8 bits for A, is less
/// than what kernels do by themselves.
Status importMatMulNBits(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value a = node.input(0), b = node.input(1), scales = node.input(2), zeros = node.input(3), bias = node.input(5);
  int64_t k = node.requiredInteger("K", 1, INT32_MAX), n = node.requiredInteger("N", 1, INT32_MAX);
  int64_t bits = node.integer("bits", 4), block = node.requiredInteger("block_size", 1, INT32_MAX);
  if (e.failed())
    return {};
  if (bits != 2 && bits != 4 && bits != 8)
    return badInput(kNode, "bits is " + std::to_string(bits) + ", not 2, 4 or 8");
  if (block < 16 || (block & (block - 1)) != 0)
    return badInput(kNode, "block_size is " + std::to_string(block) + ", not a power of two from 16 on");
  if (node.integer("weight_prepacked", 0) != 0)
    return unsupported(kUnsupported, "the weights are packed for one device (weight_prepacked = " +
                                         std::to_string(node.integer("weight_prepacked", 0)) + "); export them again without prepacking");
  if (node.input(4))
    return unsupported(kUnsupported, "g_idx is not supported; export with block-ordered weights");
  int64_t blocks = (k + block - 1) / block;
  auto columns = e.staticDim(a, e.rank(a) - 1);
  auto count = [&](Value v) { return e.typeOf(v).hasStaticShape() ? e.typeOf(v).getNumElements() : -1; };
  if (columns && *columns != k)
    return badInput(kNode, "K is " + std::to_string(k) + ", the input has " + std::to_string(*columns) + " columns");
  if (!isU8(e, b) || count(b) != n * blocks * (block * bits / 8) || count(scales) != n * blocks)
    return badInput(kNode, "weights " + describeType(e.analysis, b) + " and scales " + describeType(e.analysis, scales) + " do not go with N " +
                               std::to_string(n) + ", K " + std::to_string(k) + ", blocks of " + std::to_string(block));
  Value codes = unpackCodes(e, e.reshape(b, {n, blocks, block * bits / 8}), bits);
  Value real = e.cast(codes, e.f32()), zero;
  if (!zeros) {
    zero = e.scalar(e.f32(), double(1 << (bits - 1)));
  } else if (isU8(e, zeros)) {
    int64_t bytes = (blocks * bits + 7) / 8;
    if (count(zeros) != n * bytes)
      return badInput(kNode, "zero points are " + describeType(e.analysis, zeros));
    Value unpacked = e.slice(unpackCodes(e, e.reshape(zeros, {n, bytes}), bits), 1, 0, blocks);
    zero = e.cast(e.expandDims(unpacked, 2), e.f32());
  } else {
    if (count(zeros) != n * blocks)
      return badInput(kNode, "zero points are " + describeType(e.analysis, zeros));
    zero = e.cast(e.reshape(zeros, {n, blocks, 1}), e.f32());
  }
  Value weight = e.mul(e.sub(real, zero), e.cast(e.reshape(scales, {n, blocks, 1}), e.f32()));
  weight = e.reshape(weight, {n, blocks * block});
  if (blocks * block != k)
    weight = e.slice(weight, 1, 0, k);
  weight = e.cast(weight, e.elementType(a));
  if (!e.isFloat(a) || (bias && (e.rank(bias) != 1 || e.elementType(bias) != e.elementType(a))))
    return badInput(kNode, "the input is " + describeType(e.analysis, a));
  llvm::SmallVector<Value> operands{a, weight};
  if (bias)
    operands.push_back(bias);
  llvm::SmallVector<mlir::NamedAttribute> attributes;
  if (node.integer("accuracy_level", 0) == 4)
    attributes.push_back(e.unit(kInt8Input));
  node.set(0, e.op("llm.linear", operands, attributes));
  return {};
}

/// Rows of a block-quantized table. Inputs: data, indices, scales, zero_points?.
Status importGatherBlockQuantized(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value data = node.input(0), scales = node.input(2), zeros = node.input(3);
  int64_t rank = e.rank(data), bits = node.integer("bits", 4), block = node.integer("block_size", 128);
  int64_t gatherAxis = e.axis(node.integer("gather_axis", 0), rank), axis = e.axis(node.integer("quantize_axis", 1), rank);
  if (e.failed())
    return {};
  if ((bits != 4 && bits != 8) || block < 16 || axis != rank - 1 || gatherAxis == axis)
    return unsupported(kUnsupported, "bits " + std::to_string(bits) + ", blocks of " + std::to_string(block) + " along axis " +
                                         std::to_string(axis) + " are not supported");
  // Tables of u8 hold packed codes; 4-bit types come unpacked from the reader, one byte each.
  bool packed = isU8(e, data) && bits == 4 && e.staticDim(data, axis) && e.staticDim(scales, axis) &&
                *e.staticDim(data, axis) * 2 <= *e.staticDim(scales, axis) * block;
  Value indices = node.input(1), rows = e.gather(data, indices, gatherAxis), rowScales = e.gather(scales, indices, gatherAxis);
  Value codes = packed ? unpackCodes(e, rows, bits) : rows;
  Value rowZeros = zeros ? e.gather(zeros, indices, gatherAxis) : Value();
  if (zeros && packed)
    rowZeros = e.slice(unpackCodes(e, rowZeros, bits), e.rank(rowZeros) - 1, 0, e.staticDim(scales, axis).value_or(0));
  if (!zeros && e.elementType(data).isUnsignedInteger())
    rowZeros = e.broadcast(e.scalar(e.elementType(data), double(1 << (bits - 1))), e.shapeOf(rowScales));
  node.set(0, dequantize(e, codes, rowScales, rowZeros, e.rank(codes) - 1, block));
  return {};
}

//===----------------------------------------------------------------------===//
// Dynamic quantization
//===----------------------------------------------------------------------===//

/// Inputs: A, B, a_scale, b_scale, a_zero_point?, b_zero_point?, bias?.
Status importMatMulIntegerToFloat(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(4))
    return {};
  Value sum = integerMatMul(e, node.input(0), node.input(1), node.input(4), node.input(5));
  Value scale = e.mul(e.toScalar(node.input(2)), node.input(3));
  Value y = e.mul(e.cast(sum, e.elementType(scale)), scale);
  node.set(0, node.input(6) ? e.add(y, node.input(6)) : y);
  return {};
}

/// Inputs: A (float), B, b_scale, b_zero_point?, bias?. A is quantized to u8 by its own range.
Status importDynamicQuantizeMatMul(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value scale, zeroPoint, codes = quantizeDynamically(e, node.input(0), scale, zeroPoint);
  Value sum = integerMatMul(e, codes, node.input(1), zeroPoint, node.input(3));
  Value y = e.mul(e.cast(sum, e.f32()), e.mul(scale, node.input(2)));
  node.set(0, node.input(4) ? e.add(y, node.input(4)) : y);
  return {};
}

//===----------------------------------------------------------------------===//
// Products of quantized matrices
//===----------------------------------------------------------------------===//

/// Inputs: A, a_scale, a_zero_point, B, b_scale, b_zero_point, C (i32)?, y_scale?, y_zero_point?. Without y_scale the result is f32.
Status importQGemm(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(6))
    return {};
  Value a = node.input(0), b = node.input(3), aZero = node.input(2);
  if (e.rank(a) != 2 || e.rank(b) != 2)
    return badInput(kNode, "operands are " + describeType(e.analysis, a) + " and " + describeType(e.analysis, b) + ", not matrices");
  a = node.flag("transA") ? e.transpose(a, {1, 0}) : a;
  b = node.flag("transB") ? e.transpose(b, {1, 0}) : b;
  Value sum = integerMatMul(e, a, b, e.toScalar(aZero), node.input(5));
  if (node.input(6))
    sum = e.add(sum, node.input(6));
  Value real = e.mul(e.cast(sum, e.f32()), e.mul(e.mul(e.toScalar(node.input(1)), node.input(4)), node.number("alpha", 1)));
  if (!node.input(7))
    node.set(0, real);
  else if (Value zero = node.input(8))
    node.set(0, quantizeTo(e, e.div(real, e.toScalar(node.input(7))), e.toScalar(zero), e.elementType(zero)));
  else
    return badInput(kNode, "y_scale is there without y_zero_point");
  return {};
}

/// Weights of bitsandbytes: y = A W^T, W [N, K] as 4-bit codes of a table, the first of a byte in its high bits, scaled by blocks.
Status importMatMulBnb4(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  static constexpr float fp4[16] = {0, 0.00520833f, 0.6666667f, 1, 0.33333333f, 0.5f, 0.16666667f, 0.25f,
                                    -0.0f, -0.00520833f, -0.6666667f, -1, -0.33333333f, -0.5f, -0.16666667f, -0.25f};
  // Quantiles of the normal distribution: Dettmers et al., "QLoRA", arXiv:2305.14314, appendix E.
  static constexpr float nf4[16] = {-1, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                                    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0,
                                    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1};
  Value a = node.input(0), packed = node.input(1), scales = node.input(2);
  int64_t k = node.requiredInteger("K", 1, INT32_MAX), n = node.requiredInteger("N", 1, INT32_MAX);
  int64_t block = node.requiredInteger("block_size", 1, INT32_MAX), kind = node.requiredInteger("quant_type", 0, 1);
  if (e.failed())
    return {};
  int64_t blocks = (n * k + block - 1) / block;
  if (!isU8(e, packed) || !e.typeOf(packed).hasStaticShape() || e.typeOf(packed).getNumElements() != (n * k + 1) / 2 ||
      !e.typeOf(scales).hasStaticShape() || e.typeOf(scales).getNumElements() != blocks || !node.flag("transB", true))
    return badInput(kNode, "weight " + describeType(e.analysis, packed) + " and scales " + describeType(e.analysis, scales) +
                               " do not go with N = " + std::to_string(n) + ", K = " + std::to_string(k) + " in blocks of " +
                               std::to_string(block));
  Type u8 = e.elementType(packed);
  Value bytes = e.reshape(packed, {-1, 1}), high = e.binary("llm.shr", bytes, e.scalar(u8, 4)), low = e.binary("llm.and", bytes, e.scalar(u8, 15));
  Value codes = e.cast(e.reshape(e.concat({high, low}, 1), {-1}), e.i64());
  Value table = e.constant(DenseElementsAttr::get(RankedTensorType::get({16}, e.f32()), llvm::ArrayRef<float>(kind == 0 ? fp4 : nf4)));
  Value numbers = e.gather(table, e.slice(codes, 0, 0, n * k), 0);
  Value each = e.gather(e.cast(e.reshape(scales, {-1}), e.f32()), e.div(e.range(e.integer(0), e.integer(n * k)), double(block)), 0);
  Value weight = e.reshape(e.mul(numbers, each), {n, k});
  node.set(0, e.cast(e.matmul(e.widen(a), e.transpose(weight, {1, 0})), e.elementType(a)));
  return {};
}

} // namespace llmopt::onnx
