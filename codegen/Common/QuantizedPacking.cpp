//===- QuantizedPacking.cpp - codes and scales as kernels read them -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/QuantizedPacking.h"

#include <cmath>

using namespace mlir;
using namespace llmopt;

/// The element of a broadcast parameter for element `flat` of `shape`.
static double elementFor(const Tensor &parameter, ArrayRef<int64_t> shape, int64_t flat) {
  int64_t at = 0, stride = 1;
  for (size_t i = 0; i < shape.size(); ++i) { // from the last dimension on
    size_t dim = shape.size() - 1 - i;
    int64_t index = flat % shape[dim];
    flat /= shape[dim];
    if (i < parameter.shape().size()) {
      int64_t own = parameter.shape()[parameter.shape().size() - 1 - i];
      at += own == 1 ? 0 : index * stride;
      stride *= own;
    }
  }
  return parameter.at(at);
}

QuantizedPanels llmopt::panelsOf(const QuantizedWeight &weight, CodeOrder order) {
  const QuantizedWeight::Format &format = weight.format;
  return {format.bits, format.block, format.scale, format.zeros, order};
}

std::string llmopt::keyOf(const QuantizedWeight &weight) {
  return panelsOf(weight).layout() + " " + std::string(dtypeName(weight.format.product)) + " " + std::to_string(weight.format.zero);
}

Status llmopt::packQuantized(const QuantizedWeight &weight, const QuantizedPanels &panels, llvm::function_ref<Result<Tensor>(Value)> evaluate,
                             std::span<std::byte> packed) {
  LLMOPT_ASSIGN(Tensor codeTensor, evaluate(weight.codes));
  LLMOPT_ASSIGN(Tensor scaleTensor, evaluate(weight.scales));
  Tensor zeroTensor;
  if (panels.zeros) {
    LLMOPT_ASSIGN(zeroTensor, evaluate(weight.zeros));
  }
  size_t bytes = packed.size() / size_t(weight.matrices);
  for (int64_t m = 0; m < weight.matrices; ++m) {
    QuantizedMatrix matrix;
    matrix.outputs = weight.outputs;
    matrix.inputs = weight.inputs;
    matrix.outputStride = weight.outputsFirst ? weight.width : 1;
    matrix.inputStride = weight.outputsFirst ? 1 : weight.width;
    matrix.offset = weight.offset;
    int64_t first = m * weight.outputs * matrix.outputStride;
    matrix.codes = codeTensor.as<uint8_t>() + first;
    if (!panels.zeros)
      matrix.zeros.push_back(uint8_t(weight.format.zero));
    for (int64_t n = 0; n < weight.outputs; ++n)
      for (int64_t block = 0; block < panels.blocks(weight.inputs); ++block) {
        int64_t flat = first + n * matrix.outputStride + block * panels.block * matrix.inputStride;
        matrix.scales.push_back(float(elementFor(scaleTensor, weight.scaled, flat)));
        if (panels.zeros) {
          double own = elementFor(zeroTensor, weight.shifted, flat) + weight.offset;
          if (!(own >= 0 && own <= 255 && own == std::nearbyint(own)))
            return badInput("E0922", "a zero point is " + std::to_string(own) + ", no whole number of 8 bits");
          matrix.zeros.push_back(uint8_t(own));
        }
      }
    LLMOPT_RETURN_IF_ERROR(packQuantized(panels, matrix, packed.subspan(size_t(m) * bytes, bytes)));
  }
  return {};
}
