//===- WeightPacking.cpp - weights in the order kernels stream them -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/WeightPacking.h"

#include "codegen/Common/QuantizedPanels.h"

#include <algorithm>
#include <string>

using namespace llmopt;

namespace {

template <typename Element>
void packPanels(int64_t group, int64_t outputs, int64_t inputs, bool outputsFirst, const Element *source, Element *packed) {
  int64_t outputStride = outputsFirst ? inputs : 1, inputStride = outputsFirst ? 1 : outputs;
  for (int64_t first = 0; first < outputs; first += kPanelColumns) {
    int64_t columns = std::min(kPanelColumns, outputs - first);
    for (int64_t k = 0; k < inputs; k += group) {
      const Element *from = source + first * outputStride + k * inputStride;
      int64_t present = std::min(group, inputs - k);
      for (int64_t column = 0; column < columns; ++column)
        for (int64_t i = 0; i < present; ++i)
          packed[column * group + i] = from[column * outputStride + i * inputStride];
      packed += kPanelColumns * group;
    }
  }
}

} // namespace

int64_t llmopt::inputGroup(std::string_view layout) {
  return layout == "panel16" ? 1 : layout == "panel16x2" ? 2 : layout == "panel16x4" ? 4 : 0;
}

std::string_view llmopt::panelLayout(DType type) {
  switch (type) {
  case DType::F32:
  case DType::F16:
    return "panel16";
  case DType::BF16:
    return "panel16x2";
  case DType::I8:
  case DType::F8E4M3FN:
    return "panel16x4";
  default:
    return {};
  }
}

int64_t llmopt::packedMatrixBytes(std::string_view layout, DType type, int64_t outputs, int64_t inputs) {
  if (std::optional<QuantizedPanels> quantized = QuantizedPanels::ofLayout(layout))
    return quantized->bytes(outputs, inputs);
  int64_t group = inputGroup(layout);
  if (group == 0)
    return outputs * inputs * int64_t(dtypeSize(type));
  return panelCount(outputs) * kPanelColumns * ((inputs + group - 1) / group * group) * int64_t(dtypeSize(type));
}

Status llmopt::packWeight(std::string_view layout, DType type, int64_t outputs, int64_t inputs, bool outputsFirst,
                          std::span<const std::byte> source, std::span<std::byte> packed) {
  int64_t group = inputGroup(layout);
  size_t elementBytes = dtypeSize(type);
  if (group == 0 || (elementBytes != 1 && elementBytes != 2 && elementBytes != 4))
    return internalError("E0921", "no packing of " + std::string(dtypeName(type)) + " as '" + std::string(layout) + "'");
  if (source.size() != size_t(outputs * inputs) * elementBytes ||
      packed.size() != size_t(packedMatrixBytes(layout, type, outputs, inputs)))
    return internalError("E0922", "a weight to be packed has another size than its shape says");
  std::fill(packed.begin(), packed.end(), std::byte(0));
  auto pack = [&]<typename Element>(Element) {
    packPanels(group, outputs, inputs, outputsFirst, reinterpret_cast<const Element *>(source.data()),
               reinterpret_cast<Element *>(packed.data()));
  };
  if (elementBytes == 4)
    pack(uint32_t());
  else if (elementBytes == 2)
    pack(uint16_t());
  else
    pack(uint8_t());
  return {};
}
