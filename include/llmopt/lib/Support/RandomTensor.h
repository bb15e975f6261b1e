//===- RandomTensor.h - numbers by recipe -----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element i (row major, from 0) of a drawn tensor depends on the recipe and i alone, so that any program, in any order, on any device
// makes the same tensor:
//
//   u = splitmix64's output at state + (i + 1) * 0x9e3779b97f4a7c15
//   x = center + (float(u >> 40) * 2^-24 - 0.5) * 0.02 * 3.4641016     in f32, each operation rounded; then rounded to `dtype`
//
// That is uniform with a standard deviation of 0.02. codegen/CUDA/kernels/draw_weights.cuh does the same on a GPU.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_RANDOMTENSOR_H
#define LLMOPT_LIB_SUPPORT_RANDOMTENSOR_H

#include "llmopt/lib/Support/DType.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llmopt {

struct RandomTensor {
  uint64_t state = 0;
  float center = 0;
  DType dtype = DType::F32; ///< F32, BF16 or F16

  /// A weight by its name: the state is FNV-1a of the name, exclusive-or splitmix64's output at the seed; scales (one dimension, called
  /// "...weight") lie around 1, all others around 0.
  static RandomTensor ofWeight(uint64_t seed, std::string_view name, std::span<const int64_t> shape, DType dtype);
  /// Rounded to `dtype`.
  float at(uint64_t i) const;
  /// All elements, in `dtype`.
  void fill(std::span<std::byte> bytes) const;
  bool operator==(const RandomTensor &) const = default;
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_RANDOMTENSOR_H
