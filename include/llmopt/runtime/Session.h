//===- Session.h - one conversation with a decoder --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   auto session = llmopt::Session::create(*engine);
//   auto logits = session->append(promptIds);      // Result<std::span<const float>>, of the last token
//   while (...)
//     logits = session->append({&next, 1});
//
// Sessions of one engine may run in different threads; each session belongs to one thread at a time.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_SESSION_H
#define LLMOPT_RUNTIME_SESSION_H

#include "llmopt/runtime/Engine.h"

#include <memory>
#include <optional>
#include <span>

namespace llmopt {

class GraphDecoder;

class Session {
public:
  /// E1507 for models that do not decode.
  static Result<Session> create(const Engine &engine);
  Session(Session &&) noexcept;
  Session &operator=(Session &&) noexcept;
  ~Session();

  /// Encoder-decoders: what to attend to; before the first token.
  Status encode(std::span<const int32_t> tokens);
  /// Logits after the last of `tokens`, valid until the next call. Long prompts run in pieces.
  Result<std::span<const float>> append(std::span<const int32_t> tokens);
  /// Logits after each of `tokens`, one row each.
  Result<const StepOutput *> appendAll(std::span<const int32_t> tokens);

  uint32_t length() const;
  /// E1507 for graphs that hold their cache in tensors of their own.
  Result<Session> fork() const;
  Status truncate(uint32_t length);

private:
  explicit Session(const Engine &engine);
  Status run(std::span<const int32_t> tokens, LogitRows wanted);
  Engine engine_;
  std::optional<Sequence> sequence_;
  std::unique_ptr<GraphDecoder> graph_;
  StepOutput output_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_SESSION_H
