//===- GraphDecoder.h - decoding with an ONNX graph -------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For graphs that take token ids (and past keys and values) and give logits (and present ones), as exporters write
// decoders. All rows of a batch begin together, padded at the left; presents are fed back as pasts. Which tensor is
// which, the artifact says (ModelInfo.h, `io`), or names and shapes tell.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_GRAPHDECODER_H
#define LLMOPT_RUNTIME_GRAPHDECODER_H

#include "llmopt/runtime/Engine.h"

#include <optional>
#include <span>
#include <vector>

namespace llmopt {

class GraphDecoder {
public:
  /// E1507: the graph is no decoder, and what it lacks.
  static Result<GraphDecoder> create(const Engine &engine);

  /// Appends tokens to all rows, the first call saying how many there are. `ids` is [rows, count], row after row; `mask`
  /// is 0 where a token is padding (empty: none is; E1507 before a token of a graph without mask), `types` the segment of each token, for graphs that ask for it
  /// (empty: all 0). Gives logits [rows, count, vocabulary] as f32.
  Result<Tensor> append(std::span<const int32_t> ids, size_t rows, std::span<const uint8_t> mask = {}, std::span<const int32_t> types = {});
  /// Whether rows of other lengths can share a batch: the graph must ask for the mask, and for positions, which padding would shift.
  bool takesPadding() const { return mask_ && positions_; }
  /// Keeps these rows of the batch only, and none of the padding that all of them begin with.
  void keepRows(std::span<const uint32_t> rows);
  /// Forgets all positions from `length` on.
  Status truncate(size_t length);
  /// Positions so far, padding included.
  size_t length() const { return length_; }
  size_t rows() const { return rows_; }

private:
  struct Cache {
    size_t input, output; ///< index in the graph's signature
    size_t batchAxis, pastAxis;
    Tensor value;
  };
  explicit GraphDecoder(const Engine &engine) : engine_(engine) {}
  Status bind();
  Status bindCache(size_t input, size_t output);
  Status checkIds(std::span<const int32_t> ids) const;
  Status checkPadding(std::span<const uint8_t> mask, size_t rows) const;
  Tensor makeIds(size_t first) const;
  Tensor makeMask(size_t first) const;
  Tensor makePositions(size_t first) const;
  Tensor makeTypes(size_t first, std::span<const int32_t> types) const;
  void resetCaches();
  void dropSharedPadding();

  Engine engine_;
  std::vector<TensorSpec> inputs_, outputs_;
  size_t ids_ = 0, logits_ = 0;
  std::optional<size_t> mask_, positions_, types_;
  std::vector<Cache> caches_;
  int64_t vocabulary_ = 0;
  size_t rows_ = 0, length_ = 0;
  std::vector<std::vector<int32_t>> history_; ///< of each row
  std::vector<std::vector<uint8_t>> real_;    ///< 0 where history is padding
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_GRAPHDECODER_H
