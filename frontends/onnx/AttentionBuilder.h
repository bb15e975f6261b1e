//===- AttentionBuilder.h - what all attention operators share --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_ATTENTIONBUILDER_H
#define LLMOPT_FRONTENDS_ONNX_ATTENTIONBUILDER_H

#include "Node.h"

namespace llmopt::onnx {

/// Attention over [B, heads, tokens, size] tensors. Query i stands at position first + i; key j at position j.
struct AttentionSpec {
  Value query, key, value;
  /// Added to the scores or, if bool, true where a query may attend. All broadcast to [B, H, S, T].
  llvm::SmallVector<Value> masks;
  /// i64 that broadcasts to [B, H, S, T]: position of the first query. Null: 0.
  Value first;
  /// `first` is the length of the keys minus that of the queries.
  bool firstIsRest = false;
  bool causal = false;
  int64_t left = -1, right = -1; ///< keys before and after the query's position that it sees; -1: all
  double scale = 0;              ///< 0: 1 / sqrt(size)
  double softcap = 0;
  Value sinks; ///< [H]: exp(sink) joins each row's sum
};

/// Result [B, H, S, value size].
Value attend(Emitter &e, AttentionSpec spec);

/// Scores of the same attention, for the operators that show them.
enum class ScoreStage { Product, Capped, Masked, Softmax };
Value attentionScores(Emitter &e, AttentionSpec spec, ScoreStage stage);

/// Values [B, G, T, E] summed with weights [B, H, S, T].
Value attendWith(Emitter &e, Value weights, Value value);

/// [B, S, heads * size] to [B, heads, S, size], and back.
Value splitHeads(Emitter &e, Value x, int64_t heads);
Value mergeHeads(Emitter &e, Value x);

/// Rotates the first `rotated` features (0: all) of [B, S, heads, size], or of [B, heads, S, size], by cos and sin
/// [B or 1, S, rotated / 2].
Value rotate(Emitter &e, Value x, Value cos, Value sin, int64_t rotated, bool interleaved, bool headsFirst);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_ATTENTIONBUILDER_H
