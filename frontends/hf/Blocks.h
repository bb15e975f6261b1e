//===- Blocks.h - norm, attention and feed-forward blocks -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_BLOCKS_H
#define LLMOPT_FRONTENDS_HF_BLOCKS_H

#include "WeightBinder.h"

#include <array>
#include <map>

namespace llmopt::hf {

// Limits of what a config may ask for; beyond them it is damaged or hostile.
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxWidth = int64_t(1) << 24;
inline constexpr int64_t kMaxVocabulary = int64_t(1) << 24;
inline constexpr int64_t kMaxPositionRows = int64_t(1) << 24;
inline constexpr int64_t kMaxExperts = 4096;
inline constexpr int64_t kMaxBiasDistance = int64_t(1) << 16;

/// What every block needs to write itself into the function being built.
struct BlockContext {
  GraphBuilder &graph;
  ConfigScope &config;
  WeightBinder &weights;
  Problems &problems;
  int64_t wantedPositions = 0;

  mlir::Value positions;      ///< of the tokens, i32 [tokens]
  bool isEncoder = false;     ///< the function is `encode`
  int64_t layer = -1;
  /// Key-value states by block and layer; all functions share them.
  std::map<std::pair<std::string, int64_t>, int64_t> states;
  /// Smallest number of positions that the rotary frequencies are right for; 0: the config's own limit holds.
  int64_t validPositions = 0;

  std::string expand(const std::string &name) const { return weights.expand(name, layer); }
  /// Those of encoders' layers, by key-value heads and their sizes.
  std::map<std::array<int64_t, 3>, int64_t> passingStates;
  int64_t countStates() const { return int64_t(states.size() + passingStates.size()); }
  int64_t state(const std::string &block) { return states.try_emplace({block, layer}, countStates()).first->second; }
  int64_t passingState(std::array<int64_t, 3> shape) { return passingStates.try_emplace(shape, countStates()).first->second; }
  /// A linear layer of tensors `name`.weight and, with `bias`, `name`.bias.
  mlir::Value linear(mlir::Value input, const std::string &name, int64_t outputs, bool bias, bool transposed);

private:
  mlir::Value float8Linear(const Float8Scheme &scheme, mlir::Value input, const std::string &full, int64_t outputs, mlir::Value bias);
};

/// `name` may be empty for a norm without weights. With `heads` > 0 the scale is one row a head.
Result<mlir::Value> buildNorm(BlockContext &context, const NormSpec &spec, mlir::Value input, const std::string &name, int64_t heads = 0);

Result<mlir::Value> buildMlp(BlockContext &context, const MlpSpec &spec, mlir::Value input);

/// Of ExpertsSpec::count feed-forward blocks, those that each token's router chooses.
Result<mlir::Value> buildExperts(BlockContext &context, const ExpertsSpec &spec, mlir::Value input);

/// The activation that configs call `name`, applied to `input`.
Result<mlir::Value> buildActivation(GraphBuilder &graph, const std::string &name, mlir::Value input);

/// Attention of `input`'s tokens among themselves, or over what `storeCross` has put away.
Result<mlir::Value> buildAttention(BlockContext &context, const std::string &blockName, const AttentionSpec &spec, mlir::Value input);
/// Keys and values of the encoder's output, for cross attention.
Status storeCross(BlockContext &context, const std::string &blockName, const AttentionSpec &spec, mlir::Value input);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_BLOCKS_H
