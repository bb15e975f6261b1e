//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RunOptions.h"

#include "llmopt/lib/Support/File.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <utility>

using namespace llmopt;
using namespace llmopt::tools;

static GenerateOptions generateOptions(const Engine &engine, const RunOptions &options) {
  const GenerationDefaults &defaults = engine.model().generation;
  GenerateOptions generate;
  generate.maxTokens = options.maxTokens;
  generate.sampling = {.temperature = options.temperature,
                       .topK = options.topK.value_or(defaults.topK.value_or(0)),
                       .topP = options.topP.value_or(defaults.topP.value_or(1)),
                       .minP = options.minP.value_or(defaults.minP.value_or(0)),
                       .repetitionPenalty = options.repetitionPenalty,
                       .seed = options.seed};
  generate.stop = options.stop;
  generate.ignoreEndToken = options.ignoreEnd;
  return generate;
}

static void printIds(std::span<const int32_t> ids) {
  for (size_t i = 0; i < ids.size(); ++i)
    std::cout << (i ? " " : "") << ids[i];
  std::cout << '\n';
}

static void printPerformance(const Generation &result) {
  size_t steps = result.ids.empty() ? 0 : result.ids.size() - 1;
  auto rate = [](size_t tokens, double seconds) { return seconds > 0 ? double(tokens) / seconds : 0; };
  std::fprintf(stderr, "prompt: %zu tokens in %.1f ms (%.1f tokens/s), answer: %zu tokens in %.1f ms (%.1f tokens/s)\n",
               result.promptTokens, result.promptSeconds * 1e3, rate(result.promptTokens, result.promptSeconds), steps,
               result.seconds * 1e3, rate(steps, result.seconds));
}

/// A file's text, or standard input's for "-", without the newline that editors and echo put at the end.
static Result<std::string> readPrompt(const std::string &path) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    LLMOPT_ASSIGN(text, readTextFile(path));
  }
  if (text.ends_with('\n'))
    text.resize(text.size() - (text.ends_with("\r\n") ? 2 : 1));
  return text;
}

static Result<std::vector<int32_t>> promptIds(const Generator &generator, const RunOptions &options, std::string &text) {
  if (options.ids) {
    LLMOPT_ASSIGN(std::vector<int32_t> ids, parseIds(*options.ids, "--ids"));
    if (generator.tokenizer())
      if (Result<std::string> decoded = generator.tokenizer()->decode(ids))
        text = decoded.take();
    return ids;
  }
  if (options.prompt) {
    text = *options.prompt;
  } else {
    LLMOPT_ASSIGN(text, readPrompt(*options.promptFile));
  }
  if (!generator.tokenizer())
    return unsupported("E1509", "the artifact has no tokenizer; give --ids instead of text", options.load.artifact);
  return generator.tokenizer()->encodeChecked(text);
}

Status tools::runText(const Engine &engine, const RunOptions &options) {
  LLMOPT_ASSIGN(Generator generator, Generator::create(engine));
  if ((options.topK || options.topP || options.minP) && options.temperature == 0)
    std::fprintf(stderr, "warning: --top-k, --top-p and --min-p do nothing at --temperature 0, which always takes the most probable token\n");
  std::string prompt;
  LLMOPT_ASSIGN(std::vector<int32_t> ids, promptIds(generator, options, prompt));
  bool text = !options.printIds && generator.tokenizer();
  // Only with the answer's first token: a prompt that cannot be continued is an error and nothing else.
  bool echo = text && !options.noEcho && !engine.hasEncode();
  auto onToken = [&](int32_t, std::string_view piece) {
    if (std::exchange(echo, false))
      std::cout << prompt;
    if (text)
      std::cout << piece << std::flush;
    return bool(std::cout);
  };
  LLMOPT_ASSIGN(Generation result, generator.generate(ids, generateOptions(engine, options), onToken));
  if (text)
    std::cout << (echo ? prompt : "") << '\n';
  else
    printIds(result.ids);
  if (options.perf)
    printPerformance(result);
  return {};
}
