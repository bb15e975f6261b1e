//===- Quantization.h - shared by the quantized operators -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_QUANTIZATION_H
#define LLMOPT_FRONTENDS_ONNX_QUANTIZATION_H

#include "Node.h"

namespace llmopt::onnx {

/// (a - a_zero) (b - b_zero) in i32.
Value integerMatMul(Emitter &e, Value a, Value b, Value aZero, Value bZero);

/// `quotient` (float) rounded, plus the zero point, clamped to the range of `type` and cast to it. `overflow`: see Emitter::cast.
Value quantizeTo(Emitter &e, Value quotient, Value zeroPoint, Type type, bool overflow = false);

/// (x - zero_point) * scale; scale and zero point are scalars, or [n] along `axis`, or one per block of `blockSize` along it.
Value dequantize(Emitter &e, Value x, Value scale, Value zeroPoint, int64_t axis, int64_t blockSize);

/// A scale or zero point in a shape that broadcasts against `x`. Null, with a problem noted, if it cannot.
Value alignScale(Emitter &e, Value scale, Value x, int64_t axis, int64_t blockSize);

/// Unpacks `bits`-wide codes from bytes along the last dimension, lowest bits first: [.., n] u8 to [.., n * 8 / bits] u8.
Value unpackCodes(Emitter &e, Value packed, int64_t bits);

/// `x` as u8 with scale and zero point from the range of the data.
Value quantizeDynamically(Emitter &e, Value x, Value &scale, Value &zeroPoint);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_QUANTIZATION_H
