//===- Sequence.h - token sequences and the steps that extend them *- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_SEQUENCE_H
#define LLMOPT_RUNTIME_SEQUENCE_H

#include "llmopt/lib/Artifact/TokenChoice.h"
#include "llmopt/lib/Support/Tensor.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace llmopt {

struct EngineState;

/// The keys and values of one token sequence, in blocks of 64 tokens that forks share. Growing copies nothing.
/// A sequence belongs to one thread at a time.
class Sequence {
public:
  Sequence(Sequence &&) noexcept;
  Sequence &operator=(Sequence &&) noexcept;
  ~Sequence();

  /// Tokens appended so far.
  uint32_t length() const { return length_[0]; }
  /// Tokens the encoder has seen (encoder-decoders).
  uint32_t encoderLength() const { return length_[1]; }
  /// A second sequence with the same past. Full blocks are shared; a partial last one is copied when either writes to it.
  Sequence fork() const;
  /// Forgets all tokens from position `length` on; the encoder's states stay.
  void truncate(uint32_t length);

private:
  friend class Engine;
  friend struct EngineState;
  explicit Sequence(std::shared_ptr<EngineState> engine);
  void trim(int group); ///< gives back blocks behind the length
  std::shared_ptr<EngineState> engine_;
  std::vector<int32_t> blocks_[2]; ///< of group 0, self, and 1, encoder
  uint32_t length_[2] = {0, 0};
};

enum class LogitRows : uint8_t { None, Last, All };

struct SequenceInput {
  Sequence *sequence = nullptr;
  std::span<const int32_t> tokens; ///< at least one
  LogitRows logits = LogitRows::Last;
  /// With LogitRows::Last: how the next token is to be drawn. If every input that wants logits has one, and the device draws tokens, the step gives
  /// `StepOutput::tokens` and no logits leave the device.
  const TokenChoice *choice = nullptr;
};

struct EncodeInput {
  Sequence *sequence = nullptr;
  std::span<const int32_t> tokens;
  std::span<const int32_t> tokenTypes = {}; ///< empty: all 0
};

/// Rows of numbers that a step gives: logits, or hidden states. Keep it from step to step: its memory is used again.
class StepOutput {
public:
  size_t rows() const { return rows_; }
  size_t width() const { return width_; }
  std::span<const float> row(size_t index) const { return {memory_.as<float>() + index * width_, width_}; }
  std::span<const float> all() const { return {memory_.as<float>(), rows_ * width_}; }
  /// Tokens in place of rows, one for each; -1 where no logit is a number. Empty where the step gave rows.
  std::span<const int32_t> tokens() const { return tokens_; }
  /// First row of the step's input `input`; the rows of one input follow each other.
  size_t firstRow(size_t input) const { return firstRow_[input]; }

  /// Takes over rows that were computed elsewhere; the tensor is f32 with `rows` times the width elements.
  void assign(Tensor values, size_t rows);

private:
  friend class Engine;
  friend struct EngineState;
  void resize(size_t rows, size_t width, size_t bytes);
  Tensor memory_;
  size_t rows_ = 0, width_ = 0;
  std::vector<int32_t> tokens_;
  std::vector<uint32_t> firstRow_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_SEQUENCE_H
