//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Generator.h"

#include "llmopt/runtime/GraphDecoder.h"
#include "runtime/text/GeneratorBatch.h"

using namespace llmopt;

Result<std::shared_ptr<Tokenizer>> llmopt::loadTokenizer(const Engine &engine) {
  LLMOPT_ASSIGN(std::span<const std::byte> section, engine.tokenizerSection());
  Result<std::shared_ptr<Tokenizer>> tokenizer = Tokenizer::load(section);
  LLMOPT_RETURN_IF_ERROR(engine.intact());
  return tokenizer;
}

Result<Generator> Generator::create(const Engine &engine) {
  Generator generator(engine);
  if (!engine.hasStep()) {
    if (!engine.hasGraph())
      return unsupported("E1507", "the model is an encoder: it does not generate", engine.path());
    if (Result<GraphDecoder> decoder = GraphDecoder::create(engine); !decoder)
      return decoder.status();
  }
  Result<std::shared_ptr<Tokenizer>> tokenizer = loadTokenizer(engine);
  if (tokenizer.ok())
    generator.tokenizer_ = tokenizer.take();
  else if (tokenizer.error().code != "E1509")
    return tokenizer.status();
  generator.endIds_ = engine.model().eosIds;
  if (generator.endIds_.empty() && generator.tokenizer_ && generator.tokenizer_->eosId())
    generator.endIds_.push_back(*generator.tokenizer_->eosId());
  return generator;
}

Result<std::vector<Generation>> Generator::generateBatch(std::span<const std::vector<int32_t>> prompts, const GenerateOptions &options,
                                                         const TokenCallback &onToken) const {
  LLMOPT_RETURN_IF_ERROR(options.sampling.check());
  text::LaneContext context{options, endIds_, tokenizer_, size_t(engine_.model().maxPositions), !engine_.hasEncode(), onToken};
  return engine_.hasStep() ? text::generateRagged(engine_, context, prompts) : text::generatePadded(engine_, context, prompts);
}

Result<Generation> Generator::generate(std::span<const int32_t> prompt, const GenerateOptions &options, const TokenCallback &onToken) const {
  std::vector<int32_t> ids(prompt.begin(), prompt.end());
  LLMOPT_ASSIGN(std::vector<Generation> results, generateBatch({&ids, 1}, options, onToken));
  return std::move(results[0]);
}

Result<Generation> Generator::generate(std::string_view prompt, const GenerateOptions &options, const TokenCallback &onToken) const {
  if (!tokenizer_)
    return unsupported("E1509", "the artifact has no tokenizer; give token ids instead of text", engine_.path());
  LLMOPT_ASSIGN(std::vector<int32_t> ids, tokenizer_->encodeChecked(prompt));
  if (ids.empty())
    return badInput("E1505", "the prompt is empty and the tokenizer puts no token before it");
  return generate(ids, options, onToken);
}
