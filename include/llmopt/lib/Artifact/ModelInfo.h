//===- ModelInfo.h - what an artifact says about its model ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The known keys of the artifact's section "model". All are optional but `kind`; others are kept for people to read.
//
//   kind                    "decoder", "encoder", "encoder-decoder" or "graph"
//   architecture            "llama"
//   vocab_size, max_positions
//   bos_token_id, eos_token_id (number or list), pad_token_id, decoder_start_token_id
//   generation              {"do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_length",
//                            "max_new_tokens"}: the model's own defaults
//   io                      for a graph that is a decoder: {"input_ids": NAME, "attention_mask": NAME, "position_ids": NAME,
//                            "logits": NAME, "past": [[INPUT, OUTPUT], ...]}: what to feed where; mask and positions optional
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_MODELINFO_H
#define LLMOPT_LIB_ARTIFACT_MODELINFO_H

#include "llmopt/lib/Support/Json.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmopt {

/// The model's own wishes for sampling.
struct GenerationDefaults {
  bool doSample = false;
  std::optional<double> temperature, topP, minP, repetitionPenalty;
  std::optional<int64_t> topK, maxLength, maxNewTokens;
};

/// Which tensors of a graph mean what to a decoder loop.
struct DecoderIo {
  std::string inputIds, attentionMask, positionIds, logits; ///< empty: the graph has none
  std::vector<std::pair<std::string, std::string>> past;    ///< cache input and the output that becomes it
};

struct ModelInfo {
  std::string kind = "graph", architecture;
  int64_t vocabSize = 0, maxPositions = 0; ///< 0: unknown
  std::optional<int32_t> bosId, padId, decoderStartId;
  std::vector<int32_t> eosIds;
  GenerationDefaults generation;
  std::optional<DecoderIo> io;
};

/// E0210 where a known key holds something else than it should.
Result<ModelInfo> readModelInfo(const Json &model, const std::string &context);
Json toJson(const DecoderIo &io);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_MODELINFO_H
