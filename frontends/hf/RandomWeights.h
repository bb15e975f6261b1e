//===- RandomWeights.h - weights for a model that has none ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For measuring a model of a known shape. A value depends on the seed, the tensor's name and its place alone, so that another
// program can make the same model (test/benchmark/random_weights.py does).
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_RANDOMWEIGHTS_H
#define LLMOPT_FRONTENDS_HF_RANDOMWEIGHTS_H

#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/WeightStore.h"

#include <string_view>

namespace llmopt::hf {

class RandomWeights {
public:
  /// Tensors get the element type that config.json names, else f32. `describe`: large ones are only described.
  RandomWeights(uint64_t seed, const Json &config, bool describe);
  DType type() const { return type_; }
  /// Uniform with a standard deviation of 0.02, around 1 for scales (one dimension, called "...weight"), else around 0. The bytes
  /// lie in an unlinked temporary file, so that a large model takes no more memory than one read from a folder.
  Result<StoredWeight> tensor(std::string_view name, std::vector<int64_t> shape) const;

private:
  uint64_t seed_;
  bool describe_;
  DType type_ = DType::F32;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_RANDOMWEIGHTS_H
