//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Session.h"

#include "llmopt/runtime/GraphDecoder.h"
#include "runtime/core/PrefillChunk.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;

Session::Session(const Engine &engine) : engine_(engine) {}
Session::Session(Session &&) noexcept = default;
Session &Session::operator=(Session &&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::create(const Engine &engine) {
  Session session(engine);
  if (engine.hasStep()) {
    session.sequence_ = engine.newSequence();
    return session;
  }
  LLMOPT_ASSIGN(GraphDecoder graph, GraphDecoder::create(engine));
  session.graph_ = std::make_unique<GraphDecoder>(std::move(graph));
  return session;
}

Status Session::encode(std::span<const int32_t> tokens) {
  if (!sequence_)
    return unsupported("E1507", "the model has no encoder", engine_.path());
  EncodeInput input{&*sequence_, tokens};
  return engine_.encode({&input, 1});
}

uint32_t Session::length() const { return sequence_ ? sequence_->length() : uint32_t(graph_->length()); }

/// A prompt runs in pieces of kPrefillChunk tokens, which bounds the working memory. Where all logits are wanted, they
/// are the larger part of it anyway.
Status Session::run(std::span<const int32_t> tokens, LogitRows wanted) {
  while (tokens.size() > kPrefillChunk && wanted == LogitRows::Last) {
    SequenceInput input{&*sequence_, tokens.first(kPrefillChunk), LogitRows::None};
    LLMOPT_RETURN_IF_ERROR(engine_.step({&input, 1}, output_));
    tokens = tokens.subspan(kPrefillChunk);
  }
  SequenceInput input{&*sequence_, tokens, wanted};
  return engine_.step({&input, 1}, output_);
}

Result<std::span<const float>> Session::append(std::span<const int32_t> tokens) {
  if (graph_) {
    LLMOPT_ASSIGN(const StepOutput *all, appendAll(tokens));
    return all->row(all->rows() - 1);
  }
  uint32_t before = sequence_->length();
  if (Status status = run(tokens, LogitRows::Last); !status.ok()) {
    sequence_->truncate(before);
    return status;
  }
  return output_.row(0);
}

Result<const StepOutput *> Session::appendAll(std::span<const int32_t> tokens) {
  if (!graph_) {
    LLMOPT_RETURN_IF_ERROR(run(tokens, LogitRows::All));
    return &output_;
  }
  LLMOPT_ASSIGN(Tensor logits, graph_->append(tokens, 1));
  output_.assign(std::move(logits), tokens.size());
  return &output_;
}

Result<Session> Session::fork() const {
  if (graph_)
    return unsupported("E1507", "the model is an ONNX graph that keeps its cache in tensors of its own, so its sequences cannot be forked; "
                                "llmopt-compile --explain says what kept it from running in steps", engine_.path());
  Session copy(engine_);
  copy.sequence_ = sequence_->fork();
  return copy;
}

Status Session::truncate(uint32_t length) {
  if (graph_)
    return graph_->truncate(length);
  sequence_->truncate(length);
  return {};
}
