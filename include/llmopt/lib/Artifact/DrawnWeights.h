//===- DrawnWeights.h - weights that a file only describes ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An artifact of random weights need not carry them: section "drawn" has the recipe of each, and the runtime makes the tensors where they are
// read, in the layouts that the kernels want. They lie behind the weight section, as if it went on.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_DRAWNWEIGHTS_H
#define LLMOPT_LIB_ARTIFACT_DRAWNWEIGHTS_H

#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/RandomTensor.h"

#include <span>
#include <string>
#include <vector>

namespace llmopt {

class Artifact;

struct DrawnWeight {
  std::string name;
  DType dtype = DType::F32;         ///< as it lies in memory
  std::vector<int64_t> shape;
  std::string layout;               ///< as plan::Weight::layout
  bool outputsFirst = true;         ///< its shape is [outputs, inputs]
  uint64_t offset = 0, bytes = 0;
  RandomTensor random = {};

  /// Inputs of one output lie in groups, 16 outputs in a panel; group 0: row major, all elements counted as inputs.
  struct Order {
    uint64_t outputs = 1, inputs = 0, group = 0;
    uint64_t elements() const;
  };
  Order order() const;
  /// `out` has `bytes`.
  void draw(std::span<std::byte> out) const;
};

/// Whether a tensor can be drawn in this layout and type.
bool canDraw(std::string_view layout, DType dtype);
/// Bytes of memory for a weight section and the drawn tensors behind it.
uint64_t weightMemory(std::span<const DrawnWeight> weights, uint64_t sectionBytes);

Json toJson(std::span<const DrawnWeight> weights);
/// Of an artifact without the section: none. E0208 for what does not fill the bytes it says.
Result<std::vector<DrawnWeight>> readDrawnWeights(const Artifact &artifact);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_DRAWNWEIGHTS_H
