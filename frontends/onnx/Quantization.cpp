//===- Quantization.cpp - quantize and dequantize -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

Value quantizeTo(Emitter &e, Value quotient, Value zeroPoint, Type type, bool overflow) {
  Type real = e.elementType(quotient);
  if (Emitter::isNarrowFloat(type)) { // these round and saturate in the cast
    if (zeroPoint)
      quotient = e.add(quotient, e.cast(zeroPoint, real));
    return e.cast(quotient, type, overflow);
  }
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer || integer.getWidth() > 16) {
    e.unsupported("quantization to this element type is not supported");
    return {};
  }
  bool isUnsigned = integer.isUnsigned();
  double low = isUnsigned ? 0 : -double(int64_t(1) << (integer.getWidth() - 1));
  double high = double((int64_t(1) << (integer.getWidth() - !isUnsigned)) - 1);
  quotient = e.unary("llm.round", quotient);
  if (zeroPoint)
    quotient = e.add(quotient, e.cast(zeroPoint, real));
  return e.cast(e.min(e.max(quotient, e.scalar(real, low)), e.scalar(real, high)), type);
}

Value alignScale(Emitter &e, Value scale, Value x, int64_t axis, int64_t blockSize) {
  if (!scale || e.rank(scale) == 0)
    return scale;
  int64_t rank = e.rank(x);
  if (blockSize > 0) {
    auto dim = e.staticDim(x, axis), blocks = e.staticDim(scale, axis);
    if (e.rank(scale) != rank || !dim || !blocks || (*dim + blockSize - 1) / blockSize != *blocks) {
      e.invalid("scales " + describeType(e.analysis, scale) + " do not go with " + describeType(e.analysis, x) + " in blocks of " +
                std::to_string(blockSize));
      return {};
    }
    llvm::SmallVector<int64_t> block;
    for (int64_t i = 0; i < *dim; ++i)
      block.push_back(i / blockSize);
    return e.gather(scale, e.vector(block), axis);
  }
  if (e.rank(scale) != 1) {
    e.invalid("scales are " + describeType(e.analysis, scale) + ", not one number or one per slice");
    return {};
  }
  if (e.staticDim(scale, 0) == 1)
    return e.reshape(scale, {});
  axis = e.axis(axis, rank);
  auto size = e.staticDim(x, axis), count = e.staticDim(scale, 0);
  if (size && count && *size != *count)
    e.invalid("there are " + std::to_string(*count) + " scales for dimension " + std::to_string(*size));
  llvm::SmallVector<int64_t> after;
  for (int64_t i = 1; i < rank - axis; ++i)
    after.push_back(i);
  return e.expandDims(scale, after);
}

Value dequantize(Emitter &e, Value x, Value scale, Value zeroPoint, int64_t axis, int64_t blockSize) {
  Type type = e.elementType(scale), i32 = e.builder.getI32Type();
  Value number = e.isFloat(x) ? x : e.cast(x, isa<FloatType>(e.elementType(x)) ? e.f32() : i32);
  if (zeroPoint)
    number = e.sub(number, e.cast(alignScale(e, zeroPoint, x, axis, blockSize), e.elementType(number)));
  Value wideScale = e.widen(alignScale(e, scale, x, axis, blockSize));
  return e.cast(e.mul(e.cast(number, e.elementType(wideScale)), wideScale), type);
}

/// Block size and axis that a scale of this rank means. The axis is checked only where it counts.
static int64_t quantizationAxis(Node &node, Value x, Value scale, int64_t &blockSize) {
  Emitter &e = node.emit;
  blockSize = node.integer("block_size", 0);
  if (blockSize < 0)
    e.invalid("block_size is negative");
  int64_t axis = node.integer("axis", 1);
  bool counts = blockSize > 0 || (e.rank(scale) == 1 && e.staticDim(scale, 0) != 1);
  return counts ? e.axis(axis, e.rank(x)) : 0;
}

Status importDequantizeLinear(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  int64_t blockSize = 0, axis = quantizationAxis(node, node.input(0), node.input(1), blockSize);
  Value result = dequantize(e, node.input(0), node.input(1), node.input(2), axis, blockSize);
  node.set(0, e.cast(result, node.elementTypeAttribute("output_dtype", e.elementType(node.input(1)))));
  return {};
}

Status importQuantizeLinear(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), scale = node.input(1), zeroPoint = node.input(2);
  int64_t blockSize = 0, axis = quantizationAxis(node, x, scale, blockSize);
  Type ui8 = IntegerType::get(e.builder.getContext(), 8, IntegerType::Unsigned);
  Type type = zeroPoint ? e.elementType(zeroPoint) : node.elementTypeAttribute("output_dtype", ui8);
  Value wide = e.isFloat(x) ? e.widen(x) : e.cast(x, e.f32());
  Value wideScale = e.cast(alignScale(e, scale, x, axis, blockSize), e.elementType(wide));
  Value zero = alignScale(e, zeroPoint, x, axis, blockSize);
  node.set(0, quantizeTo(e, e.div(wide, wideScale), zero, type, !node.flag("saturate", true)));
  return {};
}

Value quantizeDynamically(Emitter &e, Value x, Value &scale, Value &zeroPoint) {
  if (!e.elementType(x).isF32())
    e.invalid("its input is " + describeType(e.analysis, x) + ", not f32");
  auto all = llvm::to_vector(llvm::seq<int64_t>(0, e.rank(x)));
  Value zero = e.scalar(e.f32(), 0);
  Value low = e.min(e.reduce(llm::ReduceKind::min, x, all, false), zero);
  Value high = e.max(e.reduce(llm::ReduceKind::max, x, all, false), zero);
  Value span = e.div(e.sub(high, low), 255);
  scale = e.select(e.compare(llm::ComparePredicate::eq, span, 0.0), e.scalar(e.f32(), 1), span); // all zeros
  Type ui8 = IntegerType::get(e.builder.getContext(), 8, IntegerType::Unsigned);
  zeroPoint = quantizeTo(e, e.div(e.sub(zero, low), scale), {}, ui8);
  return quantizeTo(e, e.div(x, scale), zeroPoint, ui8);
}

Status importDynamicQuantizeLinear(Node &node) {
  if (!node.requireInputs(1))
    return {};
  Value scale, zeroPoint;
  node.set(0, quantizeDynamically(node.emit, node.input(0), scale, zeroPoint));
  node.set(1, scale);
  node.set(2, zeroPoint);
  return {};
}

} // namespace llmopt::onnx
