//===- Generator.h - text in, text out --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   auto engine = llmopt::Engine::load("model.llmopt");
//   auto generator = llmopt::Generator::create(*engine);
//   auto answer = generator->generate("Once upon a time", {.maxTokens = 100});
//   std::puts(answer->text.c_str());
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_GENERATOR_H
#define LLMOPT_RUNTIME_GENERATOR_H

#include "llmopt/runtime/Engine.h"
#include "llmopt/runtime/Sampler.h"
#include "llmopt/runtime/Tokenizer.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmopt {

struct GenerateOptions {
  size_t maxTokens = 128;
  SamplingOptions sampling = {};
  std::vector<std::string> stop = {}; ///< ends before the first of these texts
  bool ignoreEndToken = false;        ///< go on to maxTokens
  size_t batch = 8;                   ///< generateBatch: sequences in a step at most
};

enum class StopReason { EndToken, StopString, MaxTokens, ContextFull, Cancelled };

struct Generation {
  std::vector<int32_t> ids; ///< the answer, the end token included
  std::string text;         ///< empty where there is no tokenizer
  StopReason reason = StopReason::MaxTokens;
  size_t promptTokens = 0;
  double promptSeconds = 0; ///< until the first token
  double seconds = 0;       ///< of the others
};

/// Called for each token with the text that became complete; false ends the answer.
using TokenCallback = std::function<bool(int32_t id, std::string_view text)>;

/// The artifact's tokenizer; E1509 when it has none.
Result<std::shared_ptr<Tokenizer>> loadTokenizer(const Engine &engine);

/// For decoders, encoder-decoders (the prompt goes to the encoder) and graphs that decode.
class Generator {
public:
  static Result<Generator> create(const Engine &engine);

  Result<Generation> generate(std::string_view prompt, const GenerateOptions &options = {}, const TokenCallback &onToken = {}) const;
  Result<Generation> generate(std::span<const int32_t> prompt, const GenerateOptions &options = {}, const TokenCallback &onToken = {}) const;
  /// Many prompts, up to options.batch in one step, each answered as it would be alone. Prompt i draws from random
  /// stream i.
  Result<std::vector<Generation>> generateBatch(std::span<const std::vector<int32_t>> prompts, const GenerateOptions &options = {},
                                                const TokenCallback &onToken = {}) const;

  const Engine &engine() const { return engine_; }
  /// Null where the artifact has none.
  const std::shared_ptr<Tokenizer> &tokenizer() const { return tokenizer_; }

private:
  explicit Generator(const Engine &engine) : engine_(engine) {}
  Engine engine_;
  std::shared_ptr<Tokenizer> tokenizer_;
  std::vector<int32_t> endIds_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_GENERATOR_H
