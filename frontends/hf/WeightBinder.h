//===- WeightBinder.h - from names in a description to weights --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_WEIGHTBINDER_H
#define LLMOPT_FRONTENDS_HF_WEIGHTBINDER_H

#include "Architecture.h"
#include "Evaluate.h"
#include "GraphBuilder.h"
#include "ModelFolder.h"
#include "Problems.h"
#include "Quantization.h"
#include "RandomWeights.h"

namespace llmopt::hf {

/// Finds tensors, checks their shapes, puts them into the store, and remembers what was used and what was missing.
class WeightBinder {
public:
  WeightBinder(const ModelFolder &folder, const Architecture &architecture, WeightStore &store, Problems &problems)
      : folder_(folder), architecture_(architecture), store_(store), problems_(problems) {}

  /// Chooses among the candidates of names, and which groups of tensors are tied. Once, before anything else.
  Status prepare(ConfigScope &config);

  /// Tensors are drawn at random instead of taken from the folder.
  void drawAtRandom(const RandomWeights &random) { random_ = random; }

  /// Weights may be e4m3 with scales.
  void takeFloat8(const Float8Scheme &scheme) { float8_ = scheme; }
  /// How linear layers with the weight `name` (expanded) are quantized, if they are.
  std::optional<Float8Scheme> float8(const std::string &name) const;

  /// Replaces {i} by the layer and {name} by what the description says.
  std::string expand(const std::string &name, int64_t layer) const;

  /// The weight `name` (expanded) of the given shape; one operation per function, at its first use. A missing or
  /// misshapen tensor becomes a problem, and a stand-in of the wanted shape lets the import go on to find more.
  mlir::Value weight(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape);
  /// The codes of a weight that float8() knows.
  mlir::Value codes(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape);
  /// A scale for the whole matrix, or a column of one for each output, in f32.
  mlir::Value scale(GraphBuilder &graph, const std::string &name, int64_t outputs);
  /// The same in f32, for scales, biases and other small things that are no matrix.
  mlir::Value weightF32(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape);
  /// A weight computed while importing, from tensor `source`. It is made once.
  mlir::Value computed(GraphBuilder &graph, const std::string &name, const StoredWeight &weight);
  /// The bytes of a tensor without an operation for them; nothing (and a problem) when missing or misshapen.
  std::optional<StoredWeight> read(const std::string &name, llvm::ArrayRef<int64_t> shape);
  /// The same of a tensor of bytes that hold codes; never drawn at random.
  std::optional<StoredWeight> readCodes(const std::string &name, llvm::ArrayRef<int64_t> shape);

  /// Forgets the operations made so far: a new function begins.
  void beginFunction() { made_.clear(); }
  /// Notes on tensors that nothing used, and on tied tensors that differ.
  void report(std::vector<std::string> &warnings) const;
  bool has(const std::string &name) const { return locate(name).second != nullptr; }

private:
  /// The name in the file, and its tensor: `name` itself, under an older name, or one that is tied to it.
  std::pair<std::string, const FolderTensor *> locate(const std::string &name) const;
  std::pair<std::string, const FolderTensor *> locateUntied(const std::string &name) const;
  std::string tiedPlace(const std::string &name, const std::vector<std::string> &group) const;
  /// The tensor for `name`, in the store.
  const StoredWeight *drawn(const std::string &name, llvm::ArrayRef<int64_t> shape, std::string &stored);
  const FolderTensor *checked(const std::string &name, llvm::ArrayRef<int64_t> shape, std::string &stored, std::optional<DType> codes = std::nullopt);
  mlir::Value bind(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape, std::optional<DType> codes);
  void tie(std::vector<std::string> group);

  const ModelFolder &folder_;
  const Architecture &architecture_;
  WeightStore &store_;
  Problems &problems_;
  std::optional<RandomWeights> random_;
  std::optional<Float8Scheme> float8_;
  std::map<std::string, std::string> names_;
  std::map<std::string, std::string> tied_; ///< tensor of a tied group -> the one of the file that serves for it
  std::set<std::string> used_;
  std::map<std::string, mlir::Value> made_;
  std::vector<std::string> notes_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_WEIGHTBINDER_H
