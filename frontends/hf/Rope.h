//===- Rope.h - rotary frequencies from a config ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Angle of pair k at position p is p * frequency[k]. Unscaled, frequency[k] = theta^(-2k / dim). The ways to stretch a
// model beyond the positions it was trained on change the frequencies, and two of them the length of the vectors too:
//
//   linear    all divided by `factor`
//   dynamic   unscaled up to max_position_embeddings
//   llama3    slow ones divided by `factor`, fast ones kept, a ramp between
//   yarn      the same with a ramp over k; vectors longer by attention_factor (Peng et al., arXiv:2309.00071)
//   longrope  each divided by its own number, one list for short and one for long contexts (Ding et al., arXiv:2402.13753)
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_ROPE_H
#define LLMOPT_FRONTENDS_HF_ROPE_H

#include "Architecture.h"
#include "Evaluate.h"

namespace llmopt::hf {

struct Rope {
  std::vector<float> frequencies; ///< half as many as features are rotated
  double scale = 1.0;             ///< of cosine and sine
  bool interleaved = false;
  /// Positions that these frequencies are right for, where the config's own limit is not the answer; 0 otherwise.
  int64_t validPositions = 0;
};

/// `wantedPositions`: the context the user compiles for; 0 for what the model was trained on.
/// Nothing when the model (or this layer) has no rotary positions.
Result<std::optional<Rope>> resolveRope(const RopeSpec &spec, ConfigScope &config, int64_t headDim, int64_t wantedPositions);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_ROPE_H
