//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "llmopt/runtime/Session.h"

#include <algorithm>
#include <chrono>
#include <random>

using namespace llmopt;
using namespace llmopt::tools;

namespace {

class DecoderBench {
public:
  DecoderBench(const Engine &engine, Session session, size_t repeats) : engine_(engine), session_(std::move(session)), repeats_(repeats) {}

  Result<Sample> measure(int64_t prompt, int64_t generate, int64_t depth) {
    Sample sample{.test = name(prompt, generate, depth), .prompt = prompt, .generate = generate, .depth = depth,
                  .threads = engine_.threads(), .nanoseconds = {}};
    LLMOPT_RETURN_IF_ERROR(prepare(depth));
    for (size_t i = 0; i <= repeats_; ++i) {
      LLMOPT_RETURN_IF_ERROR(session_.truncate(uint32_t(depth)));
      auto begin = std::chrono::steady_clock::now();
      LLMOPT_RETURN_IF_ERROR(append(prompt, prompt));
      LLMOPT_RETURN_IF_ERROR(append(generate, 1));
      auto end = std::chrono::steady_clock::now();
      if (i > 0) // the first warms up
        sample.nanoseconds.push_back(double(std::chrono::nanoseconds(end - begin).count()));
    }
    return sample;
  }

private:
  static std::string name(int64_t prompt, int64_t generate, int64_t depth) {
    std::string text = prompt ? "pp" + std::to_string(prompt) : "";
    if (generate)
      text += (prompt ? "+tg" : "tg") + std::to_string(generate);
    return depth ? text + " @ d" + std::to_string(depth) : text;
  }

  Status append(int64_t count, int64_t piece) {
    std::vector<int32_t> tokens(size_t(std::max<int64_t>(piece, 0)));
    for (; count > 0; count -= piece) {
      for (int32_t &token : tokens)
        token = int32_t(random_() % vocabulary_);
      LLMOPT_RETURN_IF_ERROR(session_.append(tokens).status());
    }
    return {};
  }

  Status prepare(int64_t depth) {
    LLMOPT_RETURN_IF_ERROR(session_.truncate(uint32_t(depth)));
    if (engine_.hasEncode() && session_.length() == 0) {
      LLMOPT_ASSIGN(session_, Session::create(engine_));
      std::vector<int32_t> source(32, 1);
      LLMOPT_RETURN_IF_ERROR(session_.encode(source));
    }
    int64_t missing = depth - int64_t(session_.length());
    return append(missing, missing);
  }

  const Engine &engine_;
  Session session_;
  size_t repeats_;
  std::mt19937 random_{1};
  uint32_t vocabulary_ = uint32_t(std::max<int64_t>(1, engine_.model().vocabSize));
};

} // namespace

/// What was asked for, or the usual number as far as the context allows.
static Result<std::vector<int64_t>> counts(const std::vector<std::string> &texts, const std::string &flag, int64_t usual, int64_t room) {
  return texts.empty() ? std::vector<int64_t>{std::min(usual, room)} : expandNumbers(texts, flag);
}

Result<std::vector<Sample>> tools::benchDecoder(const Engine &engine, const BenchOptions &options) {
  LLMOPT_ASSIGN(std::vector<int64_t> depths, expandNumbers(options.depths, "--n-depth"));
  Result<Session> session = Session::create(engine);
  if (!session) {
    Error error = session.error();
    error.notes.push_back("help: models that do not generate are measured with --shape NAME=8x128");
    return Status(error);
  }
  DecoderBench bench(engine, session.take(), options.repeats.value_or(5));
  std::vector<Sample> samples;
  for (int64_t depth : depths) {
    int64_t context = engine.model().maxPositions, room = context ? std::max<int64_t>(1, context - depth) : INT64_MAX;
    LLMOPT_ASSIGN(std::vector<int64_t> prompts, counts(options.prompts, "--n-prompt", 512, room));
    LLMOPT_ASSIGN(std::vector<int64_t> generates, counts(options.generates, "--n-gen", 128, room));
    for (int64_t prompt : prompts)
      if (prompt > 0) {
        LLMOPT_ASSIGN(Sample sample, bench.measure(prompt, 0, depth));
        samples.push_back(std::move(sample));
      }
    for (int64_t generate : generates)
      if (generate > 0) {
        LLMOPT_ASSIGN(Sample sample, bench.measure(0, generate, depth));
        samples.push_back(std::move(sample));
      }
  }
  return samples;
}
